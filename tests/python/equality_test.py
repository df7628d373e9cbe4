# SPDX-License-Identifier: Apache-2.0
"""Every output byte against an oracle written from docs/numerics.md alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
import ropekv
from cases import CACHES, calls, families_for, laid_out, layouts
from oracle import BF16, F16, F32

TARGETS = ["best", *ropekv.usable_targets()]


def assert_same_bytes(name, found, expected):
    """Equal to the bit, except that a NaN is a NaN."""
    assert found.shape == expected.shape, name
    assert found.dtype == expected.dtype, name
    if found.dtype == np.int8:
        assert np.array_equal(found, expected), name
        return
    unsigned = f"u{found.itemsize}"
    bits = [np.ascontiguousarray(array).view(unsigned) for array in (found, expected)]
    nans = [np.isnan(array.astype(np.float32)) for array in (found, expected)]
    assert np.array_equal(*nans), name
    assert np.array_equal(*(np.where(nan, 0, bit) for nan, bit in zip(nans, bits))), name


def output_names(attributes):
    return ("q", "k", "v") if attributes["kv_output"] else ("q",)


def with_scales(tensors):
    """The scales are None for caches that have none; the arguments have no default."""
    return {"scale_k": None, "scale_v": None, **tensors}


@settings(max_examples=400)
@given(calls(), st.data())
def test_equals_the_oracle(call, data):
    tensors, attributes = call
    # For int32 x, the outputs that are given say what all of them are.
    given_outputs = data.draw(st.sets(st.sampled_from(output_names(attributes))), "given")
    out_dtype = None
    if "q" in given_outputs and tensors["x"].dtype == np.int32 and tensors["cos"].dtype == F32:
        out_dtype = data.draw(st.sampled_from([F16, BF16, F32]), "dtype of q_out")
    expected = oracle.call(**tensors, **attributes, out_dtype=out_dtype)
    for name in given_outputs:
        tensors[f"{name}_out"] = np.zeros_like(expected[name])
    family = data.draw(st.sampled_from(families_for(tensors.values())), "family")
    laid, stores = {}, {}
    for name, array in tensors.items():
        laid[name], stores[name] = laid_out(
            array, data.draw(layouts(), f"layout of {name}"), family.runs_backwards
        )
    before = {name: stores[name].copy() for name in CACHES}
    outputs = ropekv.dequant_rope_quant_kvcache(
        **with_scales({name: family.wrap(array) for name, array in laid.items()}),
        **attributes,
        num_threads=data.draw(st.sampled_from([0, 1, 3]), "threads"),
        target=data.draw(st.sampled_from(TARGETS), "target"),
    )
    for name in CACHES:
        assert_same_bytes(name, laid[name], expected[name])
        # What lies around a cache is as it was.
        before_view = _same_view(before[name], laid[name], stores[name])
        before_view[...] = laid[name]
        assert before[name].tobytes() == stores[name].tobytes(), name
    for name in ("q", "k", "v"):
        result = getattr(outputs, name)
        if name not in expected:
            assert result is None
        elif name in given_outputs:
            assert_same_bytes(name, laid[f"{name}_out"], expected[name])
        else:
            assert_same_bytes(name, family.to_numpy(result), expected[name])


def _same_view(base, view, of):
    """The view of `base` that `view` is of `of`."""
    offset = view.__array_interface__["data"][0] - of.__array_interface__["data"][0]
    return np.ndarray(view.shape, view.dtype, base, offset, view.strides)


@settings(max_examples=100)
@given(calls())
def test_the_reference_equals_the_oracle(call):
    tensors, attributes = call
    expected = oracle.call(**tensors, **attributes)
    outputs = ropekv.reference(**with_scales(tensors), **attributes)
    for name in CACHES:
        assert_same_bytes(name, tensors[name], expected[name])
    for name in output_names(attributes):
        assert_same_bytes(name, getattr(outputs, name), expected[name])


@settings(max_examples=100)
@given(calls(), st.data())
def test_inputs_may_be_broadcast_views(call, data):
    tensors, attributes = call
    inputs = sorted(tensors.keys() - {*CACHES, "indices", "positions"})
    for name in data.draw(st.sets(st.sampled_from(inputs))):
        array = tensors[name]
        axis = data.draw(st.integers(0, array.ndim - 1))
        if array.shape[axis] > 0:
            tensors[name] = np.broadcast_to(np.take(array, [0], axis), array.shape)
    expected = oracle.call(**tensors, **attributes)
    outputs = ropekv.dequant_rope_quant_kvcache(**with_scales(tensors), **attributes)
    for name in CACHES:
        assert_same_bytes(name, tensors[name], expected[name])
    for name in output_names(attributes):
        assert_same_bytes(name, getattr(outputs, name), expected[name])


@settings(max_examples=100)
@given(calls(), st.booleans())
def test_a_plan_gives_the_same(call, bound):
    tensors, attributes = call
    expected = oracle.call(**tensors, **attributes)
    plan = ropekv.Plan(**with_scales(tensors), **attributes)
    if bound:
        weights = {
            name: tensors.pop(name)
            for name in ("scale_k", "scale_v", "offset_k", "offset_v", "weight_scale", "bias")
            if name in tensors
        }
        plan = plan.bind(**weights)
        for array in weights.values():
            array.fill(0)  # the plan has its own
    plan.check(**tensors)
    for _ in range(2):  # the second call writes the same again
        outputs = plan.run(**tensors)
        for name in CACHES:
            assert_same_bytes(name, tensors[name], expected[name])
        for name in output_names(attributes):
            assert_same_bytes(name, getattr(outputs, name), expected[name])
