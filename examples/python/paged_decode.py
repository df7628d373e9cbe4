# SPDX-License-Identifier: Apache-2.0
"""A decode loop of a batch of sequences over a paged int8 cache, as an engine has it.

Sequences of Llama-3-8B's shape come and go; blocks of the cache are given out as sequences grow and
taken back when they end. The batch is of one size: places without a sequence are padding. Every
step is checked byte for byte against the plain implementation.

    python paged_decode.py [--steps 64] [--batch 8]
"""

import argparse
import time

import numpy as np

import ropekv

Q_HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
SPLITS = (Q_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM)
BLOCK = 16
PADDING = -1


class Blocks:
    """Which blocks of the cache are free."""

    def __init__(self, count):
        self.free = list(range(count))[::-1]

    def take(self):
        return self.free.pop()

    def give_back(self, blocks):
        self.free.extend(blocks)


class Sequence:
    """A sequence of `left` more tokens, and the blocks that it has."""

    def __init__(self, left):
        self.left = left
        self.length = 0
        self.blocks = []

    def next_slot(self, blocks):
        """The slot of the cache for its next token."""
        if self.length % BLOCK == 0:
            self.blocks.append(blocks.take())
        slot = self.blocks[-1] * BLOCK + self.length % BLOCK
        self.length += 1
        self.left -= 1
        return slot


def angles(positions):
    """cos and sin [B, D] for positions [B], with theta 500,000."""
    frequencies = 500_000.0 ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    turns = positions[:, None] * frequencies
    both_halves = np.concatenate([turns, turns], axis=1)
    return np.cos(both_halves).astype(np.float16), np.sin(both_halves).astype(np.float16)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    batch = options.batch
    rng = np.random.default_rng(0)

    num_blocks = batch * 8
    blocks = Blocks(num_blocks)
    places = [None] * batch
    cache = np.zeros((2, num_blocks, BLOCK, KV_HEADS, HEAD_DIM), np.int8)
    expected_cache = cache.copy()
    weights = {
        "scale_k": rng.uniform(0.02, 0.05, (KV_HEADS, HEAD_DIM)).astype(np.float32),
        "scale_v": rng.uniform(0.02, 0.05, (KV_HEADS, HEAD_DIM)).astype(np.float32),
        "weight_scale": rng.uniform(1e-4, 2e-4, sum(SPLITS)).astype(np.float32),
    }
    plan = None
    seconds, tokens, released = [], 0, 0
    for step in range(options.steps):
        slots = np.full(batch, PADDING, np.int32)
        positions = np.zeros(batch)
        for i, sequence in enumerate(places):
            if sequence is None and rng.random() < 0.5:
                sequence = places[i] = Sequence(left=int(rng.integers(1, 60)))
            if sequence is not None:
                positions[i] = sequence.length
                slots[i] = sequence.next_slot(blocks)
        cos, sin = angles(positions)
        call = {
            "x": rng.integers(-20_000, 20_000, (batch, sum(SPLITS)), dtype=np.int32),
            "cos": cos,
            "sin": sin,
            "indices": slots,
            "activation_scale": rng.uniform(0.5, 1, batch).astype(np.float32),
        }
        if plan is None:  # what needs no data is checked once, and the weights are prepared
            plan = ropekv.Plan(
                **call, **weights, k_cache=cache[0], v_cache=cache[1], size_splits=SPLITS,
                cache_mode="page",
            ).bind(**weights)
        begin = time.perf_counter()
        q = plan.run(**call, k_cache=cache[0], v_cache=cache[1]).q
        seconds.append(time.perf_counter() - begin)
        expected = ropekv.reference(
            **call, **weights, k_cache=expected_cache[0], v_cache=expected_cache[1],
            size_splits=SPLITS, cache_mode="page",
        )
        if not (np.array_equal(q, expected.q) and np.array_equal(cache, expected_cache)):
            raise SystemExit(f"step {step}: differs from the reference")
        tokens += int((slots != PADDING).sum())
        for i, sequence in enumerate(places):
            if sequence is not None and sequence.left == 0:
                blocks.give_back(sequence.blocks)
                places[i] = None
                released += 1
    in_use = num_blocks - len(blocks.free)
    print(f"{options.steps} steps of {batch} places, {tokens} tokens, {released} sequences ended")
    print(f"{in_use} of {num_blocks} blocks in use; every step equals the reference")
    print(f"{1e6 * np.median(seconds):.1f} us a step of the operator (median)")


if __name__ == "__main__":
    main()
