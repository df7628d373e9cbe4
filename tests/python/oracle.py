# SPDX-License-Identifier: Apache-2.0
"""The operator in NumPy, written from docs/numerics.md alone: step by step, as its tables say."""

import ml_dtypes
import numpy as np

F16 = np.dtype(np.float16)
F32 = np.dtype(np.float32)
BF16 = np.dtype(ml_dtypes.bfloat16)


def _dequantised(x, weight_scale, activation_scale, bias):
    """Steps 1 to 5, for x [T, H]."""
    if x.dtype != np.int32:
        return x.astype(np.float32)
    if bias is not None and bias.dtype == np.int32:
        x = x + bias  # wraps
    f = x.astype(np.float32)
    f = f * weight_scale
    if activation_scale is not None:
        f = f * activation_scale[:, None]
    if bias is not None and bias.dtype != np.int32:
        f = f + bias.astype(np.float32)
    return f


def _rotated(t, cos, sin, rounded):
    """Step 6, for t [T, N, D] and cos, sin [T, D]; `rounded` is done after each operation."""
    half = t.shape[-1] // 2
    cos, sin = (table.astype(np.float32)[:, None, :] for table in (cos, sin))
    t = rounded(t)
    first, second = t[..., :half], t[..., half:]
    low = rounded(rounded(first * cos[..., :half]) - rounded(second * sin[..., :half]))
    high = rounded(rounded(second * cos[..., half:]) + rounded(first * sin[..., half:]))
    return np.concatenate([low, high], axis=-1)


def _quantised(value, scale, offset):
    """Steps 9 to 12, for value [T, N, D]."""
    r = value / scale.reshape(value.shape[1:])
    if offset is not None:
        r = r + offset.reshape(value.shape[1:])
    r = np.where(np.isnan(r), np.float32(0), r)
    return np.rint(np.clip(r, np.float32(-128), np.float32(127))).astype(np.int8)


def _rows(indices, cache, batch, seq, paged):
    """For each token the place of its row, (first, second) index of the cache, or None."""
    for token in range(batch * seq):
        if not paged:
            yield token // seq, int(indices[token // seq]) + token % seq
        elif indices[token] < 0:
            yield None
        else:
            yield divmod(int(indices[token]), cache.shape[1])


def call(
    x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, size_splits, *, offset_k=None,
    offset_v=None, weight_scale=None, activation_scale=None, bias=None, cache_mode="contiguous",
    kv_output=False, numerics="float32",
):
    """{name: array} of the outputs, the caches among them; changes none of its arguments."""
    batch, seq = (x.shape[0], x.shape[1]) if x.ndim == 3 else (x.shape[0], 1)
    tokens = batch * seq
    head_dim = k_cache.shape[3]
    out_dtype = cos.dtype
    cos, sin = cos.reshape(tokens, head_dim), sin.reshape(tokens, head_dim)

    def as_f16(value):
        return value.astype(np.float16).astype(np.float32)

    ascend = numerics == "ascend" and out_dtype == F16
    with np.errstate(all="ignore"):
        f = _dequantised(x.reshape(tokens, sum(size_splits)), weight_scale, activation_scale, bias)
        q, k, v = (
            part.reshape(tokens, size // head_dim, head_dim)
            for part, size in zip(np.split(f, np.cumsum(size_splits)[:2], axis=1), size_splits)
        )
        rounded = as_f16 if ascend else (lambda value: value)
        q, k = (_rotated(t, cos, sin, rounded) for t in (q, k))
        caches = {"k_cache": k_cache.copy(), "v_cache": v_cache.copy()}
        values = {
            "k_cache": _quantised(k, scale_k, offset_k),
            "v_cache": _quantised(v, scale_v, offset_v),
        }
        for name, cache in caches.items():
            for token, place in enumerate(
                _rows(indices, cache, batch, seq, paged=cache_mode == "page")
            ):
                if place is not None:
                    cache[place] = values[name][token]
        leading = x.shape[:-1]
        outputs = {"q": q, "k": k, "v": v} if kv_output else {"q": q}
        outputs = {
            name: t.reshape(*leading, t.shape[1], head_dim).astype(out_dtype)
            for name, t in outputs.items()
        }
    return {**outputs, **caches}
