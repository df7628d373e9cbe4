# SPDX-License-Identifier: Apache-2.0
"""Nothing is kept: not an object, not a byte."""

import gc
import resource
import sys
import threading
import time

import numpy as np
import pytest

import ropekv
from families import FAMILIES
from small_call import small_call


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def failing(tensors):
    return {**tensors, "indices": tensors["indices"][:1]}


@pytest.mark.parametrize("family", FAMILIES)
def test_memory_and_refcounts_are_flat(family):
    # int32 x, so that every optional tensor is there; all families hold float16.
    arrays, attributes = small_call(x_dtype=np.int32)
    tensors = {name: FAMILIES[family].wrap(array) for name, array in arrays.items()}
    without_outputs = {name: t for name, t in tensors.items() if not name.endswith("_out")}
    bad = failing(tensors) if hasattr(tensors["indices"], "__getitem__") else None
    plan = ropekv.Plan(**tensors, **attributes)

    def calls(count):
        for _ in range(count):
            ropekv.dequant_rope_quant_kvcache(**tensors, **attributes, num_threads=1)
            ropekv.dequant_rope_quant_kvcache(**without_outputs, **attributes, num_threads=1)
            plan.run(**without_outputs, num_threads=1)
            if bad:
                try:
                    ropekv.dequant_rope_quant_kvcache(**bad, **attributes)
                except ValueError:
                    continue
                raise AssertionError("the bad call was taken")

    calls(2000)
    gc.collect()
    counts = {name: sys.getrefcount(tensor) for name, tensor in tensors.items()}
    kinds = [type(None), np.ndarray, tuple, ropekv.Outputs]
    kind_counts = [sys.getrefcount(kind) for kind in kinds]
    memory = resident_bytes()
    calls(25_000)
    gc.collect()
    assert counts == {name: sys.getrefcount(tensor) for name, tensor in tensors.items()}
    for kind, before in zip(kinds, kind_counts):
        assert abs(sys.getrefcount(kind) - before) < 100, kind
    # A call that kept a single byte object would need 3 MB.
    assert resident_bytes() - memory < 1 << 20


def test_two_threads_make_progress():
    """The GIL is free while the operator works."""
    heads, tokens = 64, 2000
    tensors, attributes = small_call(tokens)
    attributes["size_splits"] = (heads * 16, 32, 32)
    tensors["x"] = np.zeros((tokens, heads * 16 + 64), np.float16)
    tensors["q_out"] = None
    tensors["indices"] = np.full(tokens, -1, np.int32)
    counted = 0
    done = threading.Event()

    def count():
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody is made to let the GIL go
    counter = threading.Thread(target=count)
    counter.start()
    try:
        before = counted
        for _ in range(20):
            ropekv.reference(**tensors, **attributes)
        after = counted
    finally:
        done.set()
        counter.join()
        sys.setswitchinterval(interval)
    assert after - before > 20
