# SPDX-License-Identifier: Apache-2.0
"""What is refused: the message names the culprit, and no byte of any tensor has changed."""

import numpy as np
import pytest

import ropekv
from families import FAMILIES, OnlyDLPack
from small_call import BF16, SPLITS, WIDTH, small_call


class OnDevice(OnlyDLPack):
    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **options):
        raise AssertionError("a tensor of another device was asked for its data")


class ReadOnlyDLPack(OnlyDLPack):
    def __dlpack__(self, **options):
        view = self.array.view()
        view.flags.writeable = False
        return view.__dlpack__(**options)


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


def odd_strides(array):
    """A view with strides that are no multiple of the elements' size."""
    store = np.zeros((array.shape[0], array.shape[1] * array.itemsize + 1), np.uint8)
    view = store[:, :-1].view(array.dtype)
    assert view.strides[0] % view.itemsize
    return view


def changed(name, change):
    return lambda tensors, attributes: tensors.__setitem__(name, change(tensors[name]))


def with_value(name, value):
    return lambda tensors, attributes: (
        tensors if name in tensors else attributes
    ).__setitem__(name, value)


TENSORS = ["x", "cos", "sin", "k_cache", "v_cache", "indices", "scale_k", "scale_v", "offset_k",
           "offset_v", "q_out", "k_out", "v_out"]
WRITTEN = ["k_cache", "v_cache", "q_out", "k_out", "v_out"]


def library_name(name):
    return name.removesuffix("_out")


# (what is changed, the exception, the culprit, a part of the message)
REFUSALS = [
    *[(changed(name, lambda a: a.astype(np.float64)), TypeError, name, "float64")
      for name in TENSORS],
    *[(changed(name, lambda a: a.tolist()), TypeError, name, "is a list; must be")
      for name in TENSORS],
    *[(changed(name, lambda a: a.reshape(1, 1, 1, 1, *a.shape)), ValueError, name, "dimensions")
      for name in TENSORS],
    *[(changed(name, lambda a: a[..., :-1]), ValueError, library_name(name), "has shape")
      for name in TENSORS if name not in ("x", "k_cache")],
    *[(with_value(name, None), ValueError, name, "absent")
      for name in TENSORS[:8]],
    *[(changed(name, OnDevice), ValueError, name, "device") for name in TENSORS],
    *[(changed(name, read_only), ValueError, name, "read-only") for name in WRITTEN],
    *[(changed(name, ReadOnlyDLPack), ValueError, name, "read-only") for name in WRITTEN],
    (changed("x", lambda a: a.astype(">f2")), TypeError, "x", ">f2"),
    (changed("x", odd_strides), ValueError, "x", "bytes"),
    (changed("x", lambda a: a.astype(np.int8)), TypeError, "x", "i8"),
    (changed("x", lambda a: a.astype(np.int32)), ValueError, "weight_scale", "absent"),
    (changed("cos", lambda a: a.astype(BF16)), TypeError, "cos", "bf16"),
    (changed("k_cache", lambda a: a.view(np.uint8)), TypeError, "k_cache", "uint8"),
    (changed("k_cache", lambda a: np.broadcast_to(a[:1], a.shape)), ValueError, "k_cache",
     "read-only"),
    (changed("q_out", lambda a: np.lib.stride_tricks.as_strided(a, a.shape, (0, 0, 2))),
     ValueError, "q", "share"),
    (with_value("indices", np.array([2, 8, 3], np.int32)), ValueError, "indices", "8"),
    (with_value("indices", np.array([2, 3, 2], np.int32)), ValueError, "indices", "2"),
    (with_value("size_splits", (WIDTH, 0, 0)), ValueError, "size_splits", "k part"),
    (with_value("size_splits", SPLITS[:2]), ValueError, "size_splits", "2 entries; must have 3"),
    (with_value("rotary_style", "gptj"), ValueError, "rotary_style", "'gptj'; must be 'half' or"),
    (with_value("cache_mode", "paged"), ValueError, "cache_mode", "'paged'; must be"),
    (with_value("numerics", "float64"), ValueError, "numerics", "'float64'; must be"),
    (with_value("kv_output", False), ValueError, "k_out", "kv_output is false"),
    (with_value("target", "mmx"), ValueError, "target", "mmx"),
    (with_value("num_threads", -1), ValueError, "num_threads", "-1"),
]


@pytest.mark.parametrize(("change", "error", "culprit", "part"), REFUSALS)
def test_names_its_culprit_and_changes_nothing(change, error, culprit, part):
    tensors, attributes = small_call()
    arrays = {name: array for name, array in tensors.items() if name in WRITTEN}
    change(tensors, attributes)
    before = {name: array.tobytes() for name, array in arrays.items()}
    with pytest.raises(error) as raised:
        ropekv.dequant_rope_quant_kvcache(**tensors, **attributes)
    assert str(raised.value).startswith(f"{culprit}: ")
    assert part in str(raised.value)
    assert before == {name: array.tobytes() for name, array in arrays.items()}
    # The call that was changed is legal, and writes all of these.
    tensors, attributes = small_call()
    ropekv.dequant_rope_quant_kvcache(**tensors, **attributes)
    for name in WRITTEN:
        assert np.any(tensors[name].view(np.uint8)), name


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_may_not_share_memory(family):
    tensors, attributes = small_call()
    wrapped = {name: FAMILIES[family].wrap(array) for name, array in tensors.items()}
    wrapped["v_cache"] = wrapped["k_cache"]
    with pytest.raises(ValueError, match="v_cache|k_cache"):
        ropekv.dequant_rope_quant_kvcache(**wrapped, **attributes)
    assert not tensors["k_cache"].any()


def test_an_object_whose_dlpack_raises_says_so_itself():
    class Broken(OnlyDLPack):
        def __dlpack__(self, **options):
            raise BufferError("no memory to show")

    tensors, attributes = small_call()
    tensors["x"] = Broken(tensors["x"])
    with pytest.raises(BufferError, match="no memory to show"):
        ropekv.dequant_rope_quant_kvcache(**tensors, **attributes)
    tensors["x"].__class__.__dlpack__ = lambda self, **options: 5
    with pytest.raises(TypeError, match="x: its __dlpack__ gave a int"):
        ropekv.dequant_rope_quant_kvcache(**tensors, **attributes)


def test_outputs_that_no_memory_holds():
    tensors, attributes = small_call()
    many = 2**38
    for name in ("x", "cos", "sin"):
        tensors[name] = np.broadcast_to(tensors[name][:1], (many, tensors[name].shape[1]))
    tensors["indices"] = np.broadcast_to(np.int32(-1), (many,))
    for name in ("q_out", "k_out", "v_out"):
        tensors[name] = None
    with pytest.raises(MemoryError):
        ropekv.dequant_rope_quant_kvcache(**tensors, **attributes)


PLAN_REFUSALS = [
    (with_value("x", np.zeros((2, WIDTH), np.float16)), "x: is f16 [2, "),
    (changed("x", lambda a: a[::-1]), "x: is f16 [3, 128] with strides [-128, 1]; the plan is"),
    (with_value("scale_k", None), "scale_k: is absent; the plan is"),
    (lambda tensors, _: tensors.update(bias=np.zeros(WIDTH, np.float32)),
     "bias: is f32 [128] with strides [1]; the"),
    (changed("q_out", lambda a: np.zeros((3, 4, 32), np.float16)[..., :16]), "q_out: is f16"),
]


@pytest.mark.parametrize(("change", "message"), PLAN_REFUSALS)
def test_a_plan_takes_what_it_was_made_for(change, message):
    tensors, attributes = small_call()
    plan = ropekv.Plan(**tensors, **attributes)
    change(tensors, {})
    caches = [tensors[name].tobytes() for name in WRITTEN[:2]]
    for method in (plan.run, plan.check):
        with pytest.raises(ValueError) as raised:
            method(**tensors)
        assert str(raised.value).startswith(message)
    assert caches == [tensors[name].tobytes() for name in WRITTEN[:2]]


def test_a_plan_of_strided_outputs_needs_them():
    tensors, attributes = small_call()
    tensors["q_out"] = np.zeros((3, 4, 32), np.float16)[..., :16]
    plan = ropekv.Plan(**tensors, **attributes)
    plan.run(**tensors)
    del tensors["q_out"]
    with pytest.raises(ValueError, match="q_out: is absent; the plan is for one that is f16"):
        plan.run(**tensors)


def test_a_bound_plan_takes_no_weights():
    tensors, attributes = small_call()
    plan = ropekv.Plan(**tensors, **attributes)
    weights = {name: tensors[name] for name in ("scale_k", "scale_v", "offset_k", "offset_v")}
    bound = plan.bind(**weights)
    with pytest.raises(ValueError, match="scale_k: is given, but the plan is bound to its own"):
        bound.run(**tensors)
    with pytest.raises(ValueError, match="scale_k: is given, but the plan is bound to its own"):
        bound.bind(**weights)
    with pytest.raises(ValueError, match="offset_k: is absent"):
        plan.bind(**{**weights, "offset_k": None})


def test_token_ranges_are_checked():
    tensors, attributes = small_call()
    plan = ropekv.Plan(**tensors, **attributes)
    with pytest.raises(ValueError, match="token"):
        plan.run(**tensors, token_begin=2, token_end=4)


def test_strict_device_limits():
    tensors, attributes = small_call()
    tensors["offset_v"] = None
    with pytest.raises(ValueError, match="offset_v: is absent; the device"):
        ropekv.dequant_rope_quant_kvcache(**tensors, **attributes, strict_device_limits=True)
