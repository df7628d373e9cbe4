# SPDX-License-Identifier: Apache-2.0
"""Tensor parallelism: each process has some heads, and the bytes are those of one process.

Each rank multiplies by its own columns of the packed QKV projection, in int8 with int32 sums, and
calls the operator with its own heads of scales and caches. With fewer kv heads than ranks, several
ranks have the same. Rank 0 gathers what they wrote, and compares it with a single process's.

    python tensor_parallel.py --ranks 4                 # torch.distributed, gloo
    mpiexec -n 4 python tensor_parallel.py --mpi        # mpi4py and mpich, both from PyPI
"""

import argparse
import os
import socket

import numpy as np

import ropekv
from ropekv.parallel import shard

Q_HEADS, KV_HEADS, HEAD_DIM, WIDTH, TOKENS = 8, 2, 64, 256, 6
SLOTS = np.array([3, 17, -1, 4, 30, 9], np.int32)  # one of them is padding


def make_layer():
    """The whole layer and its inputs; the same in every process."""
    rng = np.random.default_rng(0)
    hidden = (Q_HEADS + 2 * KV_HEADS) * HEAD_DIM
    turns = np.arange(TOKENS)[:, None] * 10_000.0 ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    turns = np.concatenate([turns, turns], axis=1)
    per_head = (KV_HEADS, HEAD_DIM)
    return {
        "activations": rng.integers(-127, 128, (TOKENS, WIDTH)).astype(np.int8),
        "projection": rng.integers(-127, 128, (WIDTH, hidden)).astype(np.int8),
        "weight_scale": rng.uniform(1e-3, 2e-3, hidden).astype(np.float32),
        "activation_scale": rng.uniform(1e-2, 2e-2, TOKENS).astype(np.float32),
        "bias": rng.standard_normal(hidden).astype(np.float32),
        "cos": np.cos(turns).astype(np.float16),
        "sin": np.sin(turns).astype(np.float16),
        "scale_k": rng.uniform(0.02, 0.05, per_head).astype(np.float32),
        "scale_v": rng.uniform(0.02, 0.05, per_head).astype(np.float32),
        "offset_k": rng.uniform(-9, 9, per_head).astype(np.float32),
    }


def run_rank(layer, rank, world_size):
    """(q, k cache, v cache) of a rank."""
    part = shard(Q_HEADS, KV_HEADS, HEAD_DIM, rank, world_size)
    columns, heads = part.columns, part.kv_heads
    x = layer["activations"].astype(np.int32) @ layer["projection"][:, columns].astype(np.int32)
    kv_count = heads.stop - heads.start
    k_cache, v_cache = np.zeros((2, 4, 8, kv_count, HEAD_DIM), np.int8)
    q = ropekv.dequant_rope_quant_kvcache(
        x, layer["cos"], layer["sin"], k_cache, v_cache, SLOTS,
        layer["scale_k"][heads], layer["scale_v"][heads], part.size_splits,
        offset_k=layer["offset_k"][heads], weight_scale=layer["weight_scale"][columns],
        activation_scale=layer["activation_scale"], bias=layer["bias"][columns], cache_mode="page",
        num_threads=1,
    ).q
    return q, k_cache, v_cache


def check(layer, parts):
    """Compares the parts of all ranks, in order, with a single process's results."""
    q, k_cache, v_cache = run_rank(layer, 0, 1)
    for rank, (part_q, part_k, part_v) in enumerate(parts):
        part = shard(Q_HEADS, KV_HEADS, HEAD_DIM, rank, len(parts))
        same = (
            np.array_equal(part_q, q[:, part.q_heads])
            and np.array_equal(part_k, k_cache[:, :, part.kv_heads])
            and np.array_equal(part_v, v_cache[:, :, part.kv_heads])
        )
        if not same:
            raise SystemExit(f"rank {rank} of {len(parts)}: differs from a single process")
    print(f"{len(parts)} ranks: q and the caches are those of a single process, byte for byte")


def run_gloo(rank, world_size, port):
    """A process of torch.distributed."""
    import torch
    import torch.distributed as dist

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    layer = make_layer()
    own = run_rank(layer, rank, world_size)
    gathered = []
    for array in own:  # as bytes: gloo knows no int16
        data = torch.from_numpy(array.view(np.uint8))
        parts = [torch.empty_like(data) for _ in range(world_size)] if rank == 0 else None
        dist.gather(data, parts)
        gathered.append([part.numpy().view(array.dtype) for part in parts or []])
    if rank == 0:
        check(layer, list(zip(*gathered)))
    dist.destroy_process_group()


def run_mpi():
    """A process of mpiexec."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    layer = make_layer()
    gathered = world.gather(run_rank(layer, world.rank, world.size))
    if world.rank == 0:
        check(layer, gathered)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--mpi", action="store_true", help="this is a process of mpiexec")
    options = parser.parse_args()
    if options.mpi:
        run_mpi()
        return
    import torch.multiprocessing as multiprocessing

    multiprocessing.spawn(run_gloo, args=(options.ranks, free_port()), nprocs=options.ranks)


if __name__ == "__main__":
    main()
