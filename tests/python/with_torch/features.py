# SPDX-License-Identifier: Apache-2.0
"""The small call with each feature that a graph may have."""

import numpy as np
import torch

import ropekv
from small_call import HEAD_DIM
from with_torch.op_test import torch_call


def positions(tensors, attributes):
    table = {name: torch.cat([tensors[name], tensors[name]]) for name in ("cos", "sin")}
    tokens = len(tensors["x"])
    rows = 5 * torch.arange(tokens) % (2 * tokens)
    tensors.update(table, positions=rows, indices=tensors["indices"].long())


def half_width(tensors, attributes):
    tensors.update({name: tensors[name][:, : HEAD_DIM // 2] for name in ("cos", "sin")})


def partial_pairs(tensors, attributes):
    half_width(tensors, attributes)
    attributes.update(rotary_dim=HEAD_DIM // 2, rotary_style="interleaved")


def float_cache(dtype):
    def change(tensors, attributes):
        for name in ("scale_k", "scale_v", "offset_k", "offset_v"):
            del tensors[name]
        tensors.update({name: tensors[name].to(dtype) for name in ("k_cache", "v_cache")})
    return change


def out_dtype(dtype):
    def change(tensors, attributes):
        int32, _ = torch_call(len(tensors["x"]), np.int32)
        tensors.update(int32, cos=int32["cos"].float(), sin=int32["sin"].float())
        attributes.update(out_dtype=dtype)
    return change


def options(**values):
    return lambda tensors, attributes: attributes.update(values)


def together(*changes):
    def change(tensors, attributes):
        for one in changes:
            one(tensors, attributes)
    return change


FEATURES = {
    "positions": positions,
    "half_width": half_width,
    "partial_pairs": partial_pairs,
    "bf16_cache": float_cache(torch.bfloat16),
    "f32_cache": float_cache(torch.float32),
    "out_dtype": out_dtype("bfloat16"),
    "target": options(target=ropekv.usable_targets()[-1]),
    "ascend": options(numerics="ascend"),
    "all_int8": together(
        out_dtype("float32"), positions, partial_pairs, options(target="scalar")),
    "all_float": together(
        out_dtype("bfloat16"), float_cache(torch.float16), positions, partial_pairs),
}


def featured_call(name, tokens=3):
    """(tensors, attributes) of the small call with that feature."""
    tensors, attributes = torch_call(tokens)
    FEATURES[name](tensors, attributes)
    return tensors, attributes
