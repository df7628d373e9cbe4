# SPDX-License-Identifier: Apache-2.0
"""Tensor parallelism: what of a layer a rank has."""

import dataclasses

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Shard:
    """The part of one rank. Slices are of heads; times `head_dim`, of channels.

    q_heads: the query heads; of q.
    kv_heads: the key/value heads; of scale_k, scale_v, the offsets and the caches.
    columns: the columns of the packed projection [q | k | v], in the rank's order; of its weight,
        and of weight_scale and bias.
    size_splits: the rank's own.

    cos, sin, indices, positions and activation_scale are the same on all ranks.
    """

    q_heads: slice
    kv_heads: slice
    columns: npt.NDArray[np.int64]
    size_splits: tuple[int, int, int]


def shard(
    num_q_heads: int, num_kv_heads: int, head_dim: int, rank: int, world_size: int
) -> Shard:
    """The part of `rank` of `world_size`; with fewer kv heads than ranks, several have the same.

    Raises:
        ValueError: the heads cannot be shared out evenly, or the rank is none of these.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank: is {rank}; must be at least 0 and less than {world_size}")
    if num_kv_heads < 1 or num_q_heads % num_kv_heads:
        raise ValueError(
            f"num_q_heads: is {num_q_heads}; must be a multiple of num_kv_heads {num_kv_heads}"
        )
    if num_q_heads % world_size:
        raise ValueError(
            f"num_q_heads: is {num_q_heads}; must be a multiple of world_size {world_size}"
        )
    if num_kv_heads % world_size and world_size % num_kv_heads:
        raise ValueError(
            f"num_kv_heads: is {num_kv_heads}; must divide world_size {world_size}, or be a "
            "multiple of it"
        )
    q_count = num_q_heads // world_size
    kv_count = max(1, num_kv_heads // world_size)
    kv_begin = rank * num_kv_heads // world_size
    parts = (
        (rank * q_count, q_count),
        (num_q_heads + kv_begin, kv_count),
        (num_q_heads + num_kv_heads + kv_begin, kv_count),
    )
    columns = [
        np.arange(begin * head_dim, (begin + count) * head_dim, dtype=np.int64)
        for begin, count in parts
    ]
    return Shard(
        slice(rank * q_count, (rank + 1) * q_count),
        slice(kv_begin, kv_begin + kv_count),
        np.concatenate(columns),
        (q_count * head_dim, kv_count * head_dim, kv_count * head_dim),
    )
