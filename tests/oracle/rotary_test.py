#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rotary_test.py ROPEKV: what the command rotates, beside the formulas that are in every paper.

A head is turned by multiplying complex numbers, in float64. Whatever rounds to f32 on the way may
change a number by one part in 2^24; an output must lie between the roundings of the ends of what
is possible so. Where f32 arithmetic itself is the public formula, the bytes must be equal.
"""
import itertools
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

from case_files import BF16, NAMES, numbers, read, rounded, write

ROPEKV = sys.argv.pop(1)
F32, F16, I8, I32, I64 = (np.dtype(name) for name in ("<f4", "<f2", "i1", "<i4", "<i8"))
FLOATS = F32, F16, BF16
SIZES = (2, 2), (64, 64), (128, 64), (80, 32), (256, 64), (128, 128), (514, 66)
STYLES = "half", "interleaved"
UNIT = 2.0**-24
TOKENS, Q_HEADS, KV_HEADS = 6, 3, 2


def pairs(style, rotary_dim):
    """The channels that are the real and the imaginary parts."""
    if style == "interleaved":
        return np.arange(0, rotary_dim, 2), np.arange(1, rotary_dim, 2)
    return np.arange(rotary_dim // 2), np.arange(rotary_dim // 2, rotary_dim)


def frequencies(rotary_dim, base=10000.0):
    return base ** (-np.arange(0, rotary_dim, 2) / rotary_dim)


class Call:
    """A case file of TOKENS sequences of one token, its result, and what they mean."""

    def __init__(self, rng, size, style, x, cache, angles=None):
        self.head_dim, self.rotary_dim = size
        self.style, self.half_width = style, False
        shape = TOKENS, (Q_HEADS + 2 * KV_HEADS) * self.head_dim
        self.tensors = {}
        if x == I32:
            self.tensors["x"] = rng.integers(-100000, 100000, shape, I32)
            self.tensors["weight_scale"] = rng.uniform(1e-5, 4e-5, shape[1]).astype(F32)
            self.out = FLOATS[rng.integers(3)]
        else:
            self.tensors["x"] = rounded(rng.normal(size=shape), x)
            self.out = x
        self.angles_dtype = self.out if angles is None else angles
        for name in "k_cache", "v_cache":
            self.tensors[name] = np.zeros((TOKENS, 1, KV_HEADS, self.head_dim), cache)
        self.tensors["indices"] = np.arange(TOKENS, dtype=I32)
        if cache == I8:
            for name in "scale_k", "scale_v":
                self.tensors[name] = rng.uniform(0.02, 0.05, (KV_HEADS, self.head_dim)).astype(F32)
        splits = [heads * self.head_dim for heads in (Q_HEADS, KV_HEADS, KV_HEADS)]
        self.metadata = {"size_splits": ",".join(map(str, splits)), "cache_mode": "page",
                         "kv_output": "true", "quant_mode": "static", "layout": "BSND",
                         "numerics": "float32"}
        if x == I32:
            self.metadata["dtype"] = NAMES[self.out].lower()
        if self.rotary_dim != self.head_dim:
            self.metadata["rotary_dim"] = str(self.rotary_dim)
        if style != "half":
            self.metadata["rotary_style"] = style

    def turn(self, cos, sin, half_width=False):
        """A row of cos and sin for each row of these, which have a column for a pair."""
        self.half_width = half_width
        for name, values in ("cos", cos), ("sin", sin):
            columns = np.empty((len(values), self.rotary_dim))
            for part in pairs(self.style, self.rotary_dim):
                columns[:, part] = values
            self.tensors[name] = rounded(values if half_width else columns, self.angles_dtype)
        return self

    def at(self, positions):
        self.tensors["positions"] = positions
        return self

    def angles(self, name):
        """cos or sin as the file has them, [TOKENS, 1, rotary_dim / 2]."""
        values = numbers(self.tensors[name])
        if not self.half_width:
            values = values[:, pairs(self.style, self.rotary_dim)[0]]
        rows = self.tensors.get("positions", np.arange(TOKENS)).reshape(-1)
        return values[rows][:, np.newaxis]

    def heads(self, dtype):
        """What is rotated, as q, k and v of [TOKENS, heads, head_dim], in f32 or f64."""
        x = numbers(self.tensors["x"]).astype(dtype)
        x = x * self.tensors.get("weight_scale", np.ones(1)).astype(dtype)
        x = x.reshape(TOKENS, -1, self.head_dim)
        return x[:, :Q_HEADS], x[:, Q_HEADS:-KV_HEADS], x[:, -KV_HEADS:]

    def run(self, folder, target):
        case, out = folder / "case.safetensors", folder / "out.safetensors"
        write(case, self.tensors, self.metadata)
        done = subprocess.run([ROPEKV, "run", case, "-o", out, "--target", target], check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return read(out)


def by_real_numbers(call, head):
    """q * cos + rotate(q) * sin, as models' code has it, in f32."""
    a, b = pairs(call.style, call.rotary_dim)
    part = head[..., :call.rotary_dim]
    turned, cos, sin = (np.empty_like(part) for _ in range(3))
    turned[..., a], turned[..., b] = -part[..., b], part[..., a]
    for columns in a, b:
        cos[..., columns], sin[..., columns] = call.angles("cos"), call.angles("sin")
    return np.concatenate([part * cos + turned * sin, head[..., call.rotary_dim:]], -1)


def by_complex_numbers(call, head):
    """The same by multiplication of complex numbers in f64, and by how much f32 may be off."""
    a, b = pairs(call.style, call.rotary_dim)
    cos, sin = call.angles("cos"), call.angles("sin")
    turned = (head[..., a] + 1j * head[..., b]) * (cos + 1j * sin)
    # An i32 x is multiplied by its scale first.
    roundings = 3.001 if call.tensors["x"].dtype == I32 else 2.001
    wanted, off = head.copy(), np.abs(head) * (roundings - 2.001) * UNIT
    wanted[..., a], wanted[..., b] = turned.real, turned.imag
    sizes = np.abs(head[..., a]), np.abs(head[..., b])
    off[..., a] = roundings * UNIT * (sizes[0] * np.abs(cos) + sizes[1] * np.abs(sin))
    off[..., b] = roundings * UNIT * (sizes[1] * np.abs(cos) + sizes[0] * np.abs(sin))
    return wanted, off


def usable_targets():
    info = subprocess.run([ROPEKV, "info"], check=True, capture_output=True, text=True).stdout
    line = next(line for line in info.splitlines() if line.startswith("targets usable"))
    return line.split()[2:]


class Rotary(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def each(self, **more):
        """A Call of each size, style and target; what is not given in `more` is drawn."""
        rng = np.random.default_rng(1)
        for size, style, target in itertools.product(SIZES, STYLES, usable_targets()):
            x = FLOATS[rng.integers(3)] if rng.random() < 0.8 else I32
            options = {"x": x, "cache": (*FLOATS, I8)[rng.integers(4)],
                       "angles": F32 if rng.random() < 0.4 else None, **more}
            call = Call(rng, size, style, **options)
            self.case = f"size {size}, {style}, {target}, {options}"
            yield rng, call, lambda call=call, target=target: call.run(self.folder, target)

    def assert_same(self, found, wanted):
        self.assertEqual(found.dtype, wanted.dtype, self.case)
        np.testing.assert_array_equal(numbers(found), numbers(wanted), self.case)

    def assert_within(self, found, wanted, off, dtype, scale=None):
        """Returns how many values had only one that they could be."""
        ends = wanted - off, wanted + off
        if scale is not None:
            # The division rounds, too.
            ends = [np.clip(np.rint(end / scale + sign * UNIT * np.abs(end / scale)), -128, 127)
                    for sign, end in zip((-1, 1), ends)]
        low, high = (numbers(rounded(end, dtype)) for end in ends)
        self.assertTrue(np.all((low <= numbers(found)) & (numbers(found) <= high)), self.case)
        return np.mean(low == high)

    def test_random_tables(self):
        certain = []
        for rng, call, run in self.each():
            rows = 40
            angles = rng.uniform(-np.pi, np.pi, (rows, call.rotary_dim // 2))
            with_table = rng.random() < 0.6
            if with_table:
                integers = I32 if rng.random() < 0.5 else I64
                shape = [(TOKENS,), (TOKENS, 1), (2, TOKENS // 2)][rng.integers(3)]
                call.at(rng.integers(0, rows, shape, integers))
            else:
                angles = angles[:TOKENS]
            call.turn(np.cos(angles), np.sin(angles), half_width=rng.random() < 0.5)
            result = run()
            for i, name in enumerate("qkv"):
                exact, single = call.heads(np.float64)[i], call.heads(F32)[i]
                off = np.abs(exact) * (UNIT if call.tensors["x"].dtype == I32 else 0)
                if name != "v":
                    single = by_real_numbers(call, single)
                    exact, off = by_complex_numbers(call, exact)
                self.assert_same(result[name], rounded(single, call.out))
                self.assert_within(result[name], exact, off, call.out)
                if name == "q":
                    continue
                cache = result[name + "_cache"][:, 0]
                scale = call.tensors.get("scale_" + name)
                if scale is not None:
                    single = np.clip(np.rint(single / scale), -128, 127)
                self.assert_same(cache, rounded(single, cache.dtype))
                certain.append(self.assert_within(cache, exact, off, cache.dtype, scale))
        # Bounds that accept anything are none.
        self.assertGreater(np.median(certain), 0.99)

    def test_angles_of_positions(self):
        """p times the frequency, whatever the table was rounded to."""
        for rng, call, run in self.each(x=F32, cache=F32, angles=F32):
            table = np.arange(5000)[:, np.newaxis] * frequencies(call.rotary_dim)
            positions = np.append(rng.integers(0, 5000, TOKENS - 1), 4999).astype(I64)
            call.turn(np.cos(table), np.sin(table), half_width=rng.random() < 0.5).at(positions)
            result = run()
            a, b = pairs(call.style, call.rotary_dim)
            factors = np.exp(1j * table[positions])[:, np.newaxis]
            for i, name in enumerate("qk"):
                head = call.heads(np.float64)[i]
                wanted = (head[..., a] + 1j * head[..., b]) * factors
                found = numbers(result[name])
                off = np.abs(found[..., a] + 1j * found[..., b] - wanted)
                self.assertLess(np.max(off / np.abs(wanted)), 5 * UNIT, self.case)

    def test_no_turn_and_a_quarter(self):
        for _, call, run in self.each(x=F32, cache=F32):
            zeros, ones = np.zeros((2, TOKENS, call.rotary_dim // 2))
            ones += 1
            a, b = pairs(call.style, call.rotary_dim)
            for cos, sin in (ones, zeros), (zeros, ones):
                result = call.turn(cos, sin) and run()
                for name, head in zip("qk", call.heads(F32)):
                    wanted = head.copy()
                    if sin is ones:
                        wanted[..., a], wanted[..., b] = -head[..., b], head[..., a]
                    self.assert_same(result[name], wanted)

    def test_whole_heads_said(self):
        for rng, call, run in self.each():
            angles = rng.uniform(-np.pi, np.pi, (TOKENS, call.rotary_dim // 2))
            if call.rotary_dim != call.head_dim:
                continue
            call.turn(np.cos(angles), np.sin(angles))
            unsaid = run()
            call.metadata.update(rotary_dim=str(call.head_dim), rotary_style=call.style)
            said = run()
            for name in "q", "k", "v", "k_cache", "v_cache":
                self.assert_same(said[name], unsaid[name])


if __name__ == "__main__":
    unittest.main()
