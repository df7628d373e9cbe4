# SPDX-License-Identifier: Apache-2.0
"""torch.ops.ropekv in eager mode: bytes, refusals, memory."""

import gc
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
import ropekv.torch
from cases import CACHES, calls, laid_out, layouts
from equality_test import TARGETS, assert_same_bytes, with_scales
from families import Torch
from memory_test import resident_bytes
from oracle import BF16, F16, F32
from small_call import WIDTH, small_call

op = torch.ops.ropekv.dequant_rope_quant_kvcache


def torch_call(*arguments, **options):
    """The small call as tensors, without outputs."""
    arrays, attributes = small_call(*arguments, **options)
    tensors = {
        name: Torch.wrap(array) for name, array in arrays.items() if not name.endswith("_out")
    }
    return tensors, attributes


def legal_out_dtypes(arrays):
    """The dtypes that q may have."""
    if arrays["x"].dtype != np.int32:
        return [arrays["x"].dtype]
    return [F16, BF16, F32] if arrays["cos"].dtype == F32 else [arrays["cos"].dtype]


@settings(max_examples=200)
@given(calls(), st.data())
def test_equals_the_oracle(call, data):
    arrays, attributes = call
    out_dtype = data.draw(st.sampled_from([None, *legal_out_dtypes(arrays)]), "out_dtype")
    expected = oracle.call(**arrays, **attributes, out_dtype=out_dtype)
    laid = {
        name: laid_out(array, data.draw(layouts()), may_run_backwards=False)[0]
        for name, array in arrays.items()
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(data.draw(st.sampled_from([1, 2]), "threads"))
    try:
        tensors = {name: Torch.wrap(array) for name, array in laid.items()}
        outputs = op(
            **with_scales(tensors), **attributes,
            out_dtype=None if out_dtype is None else out_dtype.name,
            target=data.draw(st.sampled_from(TARGETS), "target"))
    finally:
        torch.set_num_threads(threads)
    for name in CACHES:
        assert_same_bytes(name, laid[name], expected[name])
    for name, output in zip(("q", "k", "v"), outputs):
        if name in expected:
            assert_same_bytes(name, Torch.to_numpy(output), expected[name])
        else:
            assert output.shape == (0,)
            assert output.dtype == outputs[0].dtype


def on_meta(name):
    return lambda tensors, attributes: tensors.__setitem__(name, tensors[name].to("meta"))


def set_to(name, value):
    return lambda tensors, attributes: (
        tensors if name in tensors else attributes).__setitem__(name, value)


def requiring_gradient(name):
    return lambda tensors, attributes: tensors.__setitem__(
        name, tensors[name].float().requires_grad_())


def with_int32_x(**options):
    def change(tensors, attributes):
        tensors.update(x=tensors["x"].int(), weight_scale=torch.ones(WIDTH))
        attributes.update(options)
    return change


# An instruction set of another processor.
UNUSABLE = next(name for name in ("neon", "avx2") if name not in ropekv.usable_targets())
REFUSALS = [
    *[(on_meta(name), f"{name}: is not on the ")
      for name in ("cos", "k_cache", "v_cache", "indices", "scale_v", "offset_k")],
    (on_meta("x"), ": is not on the "),
    *[(requiring_gradient(name), f"{name}: requires a gradient")
      for name in ("x", "sin", "scale_k", "offset_v")],
    (set_to("x", torch.zeros(3, 128).to_sparse()), "SparseCPU"),
    (set_to("x", torch.zeros(3, 128, dtype=torch.float64)), "x: has a dtype"),
    (set_to("x", torch.zeros(1, 1, 1, 3, 128)), "x: has 5 dimensions; at most 4"),
    (set_to("indices", torch.tensor([2, 8, 3], dtype=torch.int32)), "indices: "),
    (set_to("indices", torch.tensor([2, 3, 2], dtype=torch.int32)), "indices: "),
    (set_to("scale_k", None), "scale_k: is required"),
    (set_to("size_splits", (64, 16, 48)), "size_splits: is [64, 16, 48]"),
    (set_to("size_splits", (64, 64)), "size_splits: has 2 entries; must have 3"),
    (set_to("cache_mode", "paged"), "cache_mode: is 'paged'; must be 'contiguous' or 'page'"),
    (set_to("numerics", "fast"), "numerics: is 'fast'; must be 'float32' or 'ascend'"),
    (set_to("rotary_style", "gptj"), "rotary_style: is 'gptj'; must be 'half' or"),
    (set_to("rotary_dim", 3), "rotary_dim: "),
    (set_to("out_dtype", "float32"), "out_dtype: q has dtype f32; must be f16, the dtype of x"),
    (with_int32_x(out_dtype="int8"), "out_dtype: is 'int8'; must be 'float16' or 'bfloat16' or"),
    (with_int32_x(out_dtype="bfloat16"), "cos: has dtype f16; must be one of bf16, f32"),
    (set_to("target", "mmx"), "target: 'mmx' is unknown"),
    (set_to("target", UNUSABLE), f"target: '{UNUSABLE}' cannot run here"),
    (set_to("strict_device_limits", True), "x"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS)
def test_names_its_culprit_and_changes_nothing(change, message):
    tensors, attributes = torch_call()
    caches = [tensors[name] for name in CACHES]
    before = [cache.clone() for cache in caches]
    change(tensors, attributes)
    if attributes.get("strict_device_limits"):
        tensors["offset_k"], message = None, "offset_k: is absent; the device"
    with pytest.raises((RuntimeError, NotImplementedError)) as raised:
        op(**tensors, **attributes)
    assert message in str(raised.value)
    assert all(torch.equal(cache, old) for cache, old in zip(caches, before))
    tensors, attributes = torch_call()
    op(**tensors, **attributes)  # what was changed is legal
    assert all(tensors[name].any() for name in CACHES)


def test_gradients_are_asked_for_in_grad_mode_only():
    tensors, attributes = torch_call()
    tensors["scale_k"].requires_grad_()
    with torch.no_grad():
        q, _, _ = op(**tensors, **attributes)
    assert not q.requires_grad
    with torch.inference_mode():
        op(**tensors, **attributes)
    with pytest.raises(ValueError, match="scale_k: requires a gradient"):
        ropekv.dequant_rope_quant_kvcache(**tensors, **attributes)
    with torch.no_grad():
        ropekv.dequant_rope_quant_kvcache(**tensors, **attributes)


def test_vmap_is_refused():
    tensors, attributes = torch_call()
    x = tensors.pop("x")
    with pytest.raises(RuntimeError, match="Batching rule not implemented for ropekv::"):
        torch.vmap(lambda x: op(x, **tensors, **attributes))(torch.stack([x, x]))


def test_autocast_leaves_dtypes():
    tensors, attributes = torch_call()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q, _, _ = op(**tensors, **attributes)
    assert q.dtype == torch.float16


def test_a_copy_on_write_cache_is_written():
    tensors, attributes = torch_call()
    original = torch.zeros_like(tensors["k_cache"])  # NumPy's memory cannot be lazy
    lazy = torch._lazy_clone(original)
    op(**{**tensors, "k_cache": lazy}, **attributes)
    assert lazy.any()
    assert not original.any()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_memory_and_refcounts_are_flat(mode):
    tensors, attributes = torch_call(x_dtype=np.int32)  # with every optional tensor
    attributes["out_dtype"] = "float16"
    bad = {**tensors, "indices": tensors["indices"][:1]}

    def run(count):
        for _ in range(count):
            op(**tensors, **attributes)
            try:
                op(**bad, **attributes)
            except RuntimeError:
                continue
            raise AssertionError("the bad call was taken")

    with mode():
        run(2000)
        gc.collect()
        counts = {name: sys.getrefcount(tensor) for name, tensor in tensors.items()}
        uses = {name: tensor._use_count() for name, tensor in tensors.items()}
        memory = resident_bytes()
        run(50_000)  # and as many that fail
        gc.collect()
    assert counts == {name: sys.getrefcount(tensor) for name, tensor in tensors.items()}
    assert uses == {name: tensor._use_count() for name, tensor in tensors.items()}
    assert resident_bytes() - memory < 1 << 20
