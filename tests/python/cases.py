# SPDX-License-Identifier: Apache-2.0
"""Calls made by hypothesis: every dtype, option, layout and family of arrays."""

import numpy as np
from hypothesis import strategies as st

from families import FAMILIES
from oracle import BF16, F16, F32

I8 = np.dtype(np.int8)
I32 = np.dtype(np.int32)
CACHES = ("k_cache", "v_cache")
# Reciprocals of these are not exact, and their first odd multiples are, also in bfloat16.
TIE_SCALES = np.array([3, 5, 7, 11]) / 1024


def _floats(rng, shape, dtype, wild):
    """Ordinary numbers; where `wild`, also zeros, ties, subnormals, infinities and NaNs."""
    values = rng.standard_normal(shape).astype(np.float32)
    if wild:
        special = np.array(
            [0, -0.0, 40, -99.5, 0.5, -0.5, 1.5, 1e-40, -1e-40, 1e-8, 65504, 3e38, np.inf, -np.inf,
             np.nan],
            np.float32,
        )
        chosen = rng.random(shape) < 0.2
        values = np.where(chosen, rng.choice(special, shape), values)
        # Half-way between two steps of a scale of _scales.
        ties = (2 * rng.integers(0, 10, shape) + 1) * rng.choice(TIE_SCALES, shape) / 2
        values = np.where(rng.random(shape) < 0.4, ties, values)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def _integers(rng, shape, wild):
    values = rng.integers(-30000, 30000, shape, dtype=np.int64)
    if wild:
        chosen = rng.random(shape) < 0.2
        values = np.where(chosen, rng.choice([2**31 - 1, -(2**31), 2**24 + 1, 0], shape), values)
    return values.astype(np.int32)


def _scales(rng, shape, wild):
    scale = rng.uniform(0.005, 0.1, shape).astype(np.float32)
    if wild:
        chosen = rng.random(shape) < 0.2
        scale = np.where(chosen, rng.choice([0, -0.5, 1e-30, 1e30, np.inf], shape), scale)
        scale = np.where(rng.random(shape) < 0.5, rng.choice(TIE_SCALES, shape), scale)
    return scale.astype(np.float32)


@st.composite
def calls(draw):
    """(arguments by name, as dense NumPy arrays; attributes)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wild = draw(st.booleans())
    batch, seq = draw(st.integers(0, 5)), draw(st.sampled_from([None, 0, 1, 2, 5]))
    q_heads, kv_heads = draw(st.integers(0, 5)), draw(st.integers(0, 3))
    head_dim = 2 * draw(st.sampled_from([1, 3, 8, 16, 32, 40, 64]))
    tokens = batch * (1 if seq is None else seq)
    splits = (q_heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
    hidden = sum(splits)
    leading = (batch,) if seq is None else (batch, seq)

    x_dtype = draw(st.sampled_from([I32, F16, BF16, F32]))
    out_dtype = draw(st.sampled_from([F16, BF16, F32])) if x_dtype == I32 else x_dtype
    cos_dtype = draw(st.sampled_from([out_dtype, out_dtype, F32]))
    tensors = {}
    if x_dtype == I32:
        tensors["x"] = _integers(rng, (*leading, hidden), wild)
        tensors["weight_scale"] = _scales(rng, hidden, wild=False) * np.float32(0.01)
        if draw(st.booleans()):
            tensors["activation_scale"] = _scales(rng, tokens, wild)
        bias_dtype = draw(st.sampled_from([None, I32, F16, BF16, F32]))
        if bias_dtype == I32:
            tensors["bias"] = _integers(rng, hidden, wild)
        elif bias_dtype is not None:
            tensors["bias"] = _floats(rng, hidden, bias_dtype, wild)
    else:
        tensors["x"] = _floats(rng, (*leading, hidden), x_dtype, wild)
    rotary_dim = draw(st.sampled_from([0, 0, 2 * draw(st.integers(1, head_dim // 2))]))
    angles = rotary_dim or head_dim
    if draw(st.booleans()):
        angles //= 2
    index_dtype = draw(st.sampled_from([np.int32, np.int64]))
    if draw(st.booleans()):
        rows = draw(st.integers(1, 9))
        positions = rng.integers(0, rows, tokens).astype(index_dtype)
        tensors["positions"] = positions.reshape(leading) if draw(st.booleans()) else positions
        table = (rows, angles)
    else:
        table = leading + ((angles,) if seq is None else (1, angles))
    tensors["cos"] = _floats(rng, table, cos_dtype, wild)
    tensors["sin"] = _floats(rng, table, cos_dtype, wild)
    cache_dtype = draw(st.sampled_from([I8, I8, I8, F16, BF16, F32]))
    if cache_dtype == I8:
        shapes = [(kv_heads, head_dim), (kv_heads * head_dim,), (kv_heads, 1), (1,)]
        for name in ("scale_k", "scale_v"):
            tensors[name] = _scales(rng, draw(st.sampled_from(shapes)), wild)
        for name in ("offset_k", "offset_v"):
            if draw(st.booleans()):
                tensors[name] = _floats(rng, draw(st.sampled_from(shapes)), F32, wild)

    paged = draw(st.booleans())
    if paged:
        block = draw(st.integers(1, 4))
        blocks = tokens // block + draw(st.integers(1, 3))
        slots = rng.permutation(blocks * block)[:tokens].astype(index_dtype)
        slots[rng.random(tokens) < 0.2] = draw(st.sampled_from([-1, -(2**31)]))
        tensors["indices"] = slots.reshape(leading) if draw(st.booleans()) else slots
        shape = (blocks, block)
    else:
        length = (1 if seq is None else seq) + draw(st.integers(0, 4))
        shape = (batch + draw(st.integers(0, 2)), length)
        last = length - (1 if seq is None else seq)
        tensors["indices"] = rng.integers(0, last + 1, batch).astype(index_dtype)
    for name in CACHES:
        stored = rng.integers(-128, 128, (*shape, kv_heads, head_dim))
        tensors[name] = stored.astype(cache_dtype)
    attributes = {
        "size_splits": splits,
        "rotary_dim": rotary_dim,
        "rotary_style": draw(st.sampled_from(["half", "interleaved"])),
        "cache_mode": "page" if paged else "contiguous",
        "kv_output": draw(st.booleans()),
        "numerics": draw(st.sampled_from(["float32", "ascend"])),
    }
    return tensors, attributes


@st.composite
def layouts(draw):
    """How an array lies in memory: (order of its dimensions, which run backwards, room, gap)."""
    return (
        draw(st.randoms(use_true_random=False)).random(),
        draw(st.sets(st.integers(0, 3))),
        draw(st.sampled_from([0, 0, 1, 3])),
    )


def laid_out(array, layout, may_run_backwards):
    """A view with the elements of `array`, in memory of its own."""
    fraction, backwards, room = layout
    order = np.random.default_rng(int(fraction * 2**32)).permutation(array.ndim)
    if fraction < 0.3:
        order = np.arange(array.ndim)
    # Around the elements lie bytes that no call may touch; `room` on each side.
    stored = np.full([array.shape[i] + 2 * room for i in order], 77, array.dtype)
    inner = stored[tuple(slice(room, room + array.shape[i]) for i in order)]
    view = inner.transpose(np.argsort(order))
    if may_run_backwards:
        view = view[tuple(slice(None, None, -1 if i in backwards else 1)
                          for i in range(array.ndim))]
    view[...] = array
    return view, stored


def families_for(arrays):
    """The families that can hold all of these dtypes."""
    return [
        family for family in FAMILIES.values()
        if all(family.can_hold(array.dtype) for array in arrays)
    ]
