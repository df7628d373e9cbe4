# SPDX-License-Identifier: Apache-2.0
"""Shards of a call, put together, are the call."""

import numpy as np
import pytest

import ropekv
from ropekv.parallel import shard
from small_call import HEAD_DIM, KV_HEADS, Q_HEADS, small_call

PER_HEAD = ("scale_k", "scale_v", "offset_k", "offset_v")
PER_COLUMN = ("weight_scale", "bias")
CACHES = ("k_cache", "v_cache")


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_shards_are_the_whole(world_size):
    tensors, attributes = small_call(x_dtype=np.int32)
    for name in ("q_out", "k_out", "v_out"):
        del tensors[name]
    whole = {**tensors, **{name: tensors[name].copy() for name in CACHES}}
    expected = ropekv.dequant_rope_quant_kvcache(**whole, **attributes)
    covered = np.zeros(KV_HEADS, int)
    for rank in range(world_size):
        part = shard(Q_HEADS, KV_HEADS, HEAD_DIM, rank, world_size)
        own = {**tensors, "x": tensors["x"][:, part.columns]}
        own |= {name: tensors[name][part.kv_heads] for name in PER_HEAD}
        own |= {name: tensors[name][part.columns] for name in PER_COLUMN}
        own |= {name: tensors[name][:, :, part.kv_heads].copy() for name in CACHES}
        found = ropekv.dequant_rope_quant_kvcache(
            **own, **{**attributes, "size_splits": part.size_splits})
        assert np.array_equal(found.q, expected.q[:, part.q_heads])
        assert np.array_equal(found.k, expected.k[:, part.kv_heads])
        for name in CACHES:
            assert np.array_equal(own[name], whole[name][:, :, part.kv_heads])
        covered[part.kv_heads] += 1
    assert (covered == max(1, world_size // KV_HEADS)).all()
    assert whole["k_cache"].any()


@pytest.mark.parametrize(("arguments", "message"), [
    ((4, 2, 16, 2, 2), "rank: is 2"),
    ((4, 2, 16, -1, 2), "rank: is -1"),
    ((5, 2, 16, 0, 1), "num_q_heads: is 5; must be a multiple of num_kv_heads 2"),
    ((4, 0, 16, 0, 1), "num_q_heads: is 4; must be a multiple of num_kv_heads 0"),
    ((4, 2, 16, 0, 3), "num_q_heads: is 4; must be a multiple of world_size 3"),
    ((12, 3, 16, 0, 2), "num_kv_heads: is 3; must divide"),
    ((12, 4, 16, 0, 6), "num_kv_heads: is 4; must divide"),
])
def test_uneven_splits(arguments, message):
    with pytest.raises(ValueError, match=message):
        shard(*arguments)
