# SPDX-License-Identifier: Apache-2.0
"""Calls of many tokens run in torch's own threads, a range of tokens each."""

import subprocess
import sys

import pytest
import torch

import ropekv
import ropekv.torch
from with_torch.op_test import torch_call

op = torch.ops.ropekv.dequant_rope_quant_kvcache
TOKENS = 2000  # several threads' worth

COUNTS = """
import os, torch, ropekv.torch
def count():
    return len(os.listdir("/proc/self/task"))
def call(tokens):
    x, angles, scale = torch.ones(tokens, 2048), torch.ones(tokens, 64), torch.ones(1)
    caches = torch.zeros(2, tokens, 1, 8, 64, dtype=torch.int8)
    slots = torch.arange(tokens)
    torch.ops.ropekv.dequant_rope_quant_kvcache(
        x, angles, angles, *caches, slots, scale, scale, (1024, 512, 512), cache_mode="page")
torch.set_num_threads(3)
alone = count()
call(1)
assert count() == alone, "a call of one token has started a thread"
call(2000)
assert count() == alone + 2, "a call of many tokens has not started two threads"
torch.ones(2000, 2000).sin()
assert count() == alone + 2, "they are not torch's"
torch.set_num_threads(1)
call(2000)
print("threads counted")
"""


def long_call():
    tensors, attributes = torch_call(TOKENS)
    for name in ("k_cache", "v_cache"):
        tensors[name] = torch.zeros(TOKENS, 2, *tensors[name].shape[2:], dtype=torch.int8)
    order = torch.randperm(2 * TOKENS, generator=torch.Generator().manual_seed(0))
    tensors["indices"] = order[:TOKENS].int()
    return tensors, attributes


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_the_same_bytes(threads):
    tensors, attributes = long_call()
    others, _ = long_call()
    expected = ropekv.reference(**others, **attributes)
    results = op(**tensors, **attributes)
    assert all(torch.equal(one, other) for one, other in zip(results, expected, strict=True))
    for name in ("k_cache", "v_cache"):
        assert tensors[name].any()
        assert torch.equal(tensors[name], others[name])


@pytest.mark.parametrize("slot", ["twice", "too large"])
def test_a_bad_slot_is_found_before_any_byte(threads, slot):
    tensors, attributes = long_call()
    tensors["indices"][-1] = tensors["indices"][0] if slot == "twice" else 4 * TOKENS
    with pytest.raises(RuntimeError, match="^indices: "):
        op(**tensors, **attributes)
    assert not tensors["k_cache"].any()
    if slot == "twice":  # which the caller may rule out
        op(**tensors, **attributes, check_duplicate_slots=False)


def test_the_threads_are_torchs():
    done = subprocess.run(
        [sys.executable, "-c", COUNTS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("threads counted\n", 0), done.stderr
