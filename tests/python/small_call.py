# SPDX-License-Identifier: Apache-2.0
"""A small legal call, for tests that change one thing of it."""

import ml_dtypes
import numpy as np

BF16 = np.dtype(ml_dtypes.bfloat16)
Q_HEADS, KV_HEADS, HEAD_DIM = 4, 2, 16
WIDTH = (Q_HEADS + 2 * KV_HEADS) * HEAD_DIM
SPLITS = (Q_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM)
ATTRIBUTES = {"size_splits": SPLITS, "cache_mode": "page", "kv_output": True}


def small_call(tokens=3, x_dtype=np.float16, out_dtype=np.float16):
    """(tensors, attributes): paged, with every optional tensor that this x can have."""
    rng = np.random.default_rng(1)
    tensors = {
        "x": (100 * rng.standard_normal((tokens, WIDTH))).astype(x_dtype),
        "cos": rng.standard_normal((tokens, HEAD_DIM)).astype(out_dtype),
        "sin": rng.standard_normal((tokens, HEAD_DIM)).astype(out_dtype),
        "k_cache": np.zeros((4, 2, KV_HEADS, HEAD_DIM), np.int8),
        "v_cache": np.zeros((4, 2, KV_HEADS, HEAD_DIM), np.int8),
        "indices": np.arange(tokens, dtype=np.int32) + 2,
        "scale_k": np.full((KV_HEADS, HEAD_DIM), 0.7, np.float32),
        "scale_v": np.full((KV_HEADS, HEAD_DIM), 0.9, np.float32),
        "offset_k": np.full((KV_HEADS, HEAD_DIM), 3, np.float32),
        "offset_v": np.full((KV_HEADS, HEAD_DIM), -4, np.float32),
    }
    if np.dtype(x_dtype) == np.int32:
        tensors["weight_scale"] = np.full(WIDTH, 0.1, np.float32)
        tensors["activation_scale"] = np.full(tokens, 0.5, np.float32)
        tensors["bias"] = np.full(WIDTH, 1, np.int32)
    for name, heads in (("q", Q_HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
        tensors[f"{name}_out"] = np.zeros((tokens, heads, HEAD_DIM), out_dtype)
    return tensors, dict(ATTRIBUTES)
