# SPDX-License-Identifier: Apache-2.0
"""The operator in graphs: opcheck, torch.compile without copies of a cache, export, AOTInductor."""

import re

import numpy as np
import pytest
import torch
from torch._inductor.utils import run_and_get_code
from torch.library import opcheck

import ropekv.torch
from cases import CACHES
from equality_test import with_scales
from families import Torch
from small_call import ATTRIBUTES, BF16, HEAD_DIM, KV_HEADS
from with_torch.features import FEATURES, featured_call
from with_torch.op_test import torch_call

op = torch.ops.ropekv.dequant_rope_quant_kvcache
assert ropekv.torch.dequant_rope_quant_kvcache is op.default
POSITIONAL = ("x", "cos", "sin", "k_cache", "v_cache", "indices", "scale_k", "scale_v")


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


def split(tensors, attributes):
    """(positional arguments, keywords) as the schema has them."""
    options = with_scales({**tensors, **attributes})
    positional = [options.pop(name) for name in (*POSITIONAL, "size_splits")]
    return positional, options


@pytest.mark.parametrize(("x_dtype", "out_dtype"), [
    (np.int32, np.float16), (np.float16, np.float16), (BF16, BF16)])
@pytest.mark.parametrize("kv_output", [False, True])
def test_opcheck(x_dtype, out_dtype, kv_output):
    tensors, attributes = torch_call(x_dtype=x_dtype, out_dtype=out_dtype)
    arguments = split(tensors, {**attributes, "kv_output": kv_output})
    results = opcheck(op.default, *arguments)
    assert results == dict.fromkeys(
        ["test_schema", "test_autograd_registration", "test_faketensor",
         "test_aot_dispatch_dynamic"], "SUCCESS")


@pytest.mark.parametrize("feature", FEATURES)
def test_opcheck_of_each_feature(feature):
    results = opcheck(op.default, *split(*featured_call(feature)))
    assert len(results) == 4
    assert set(results.values()) == {"SUCCESS"}


class Layers(torch.nn.Module):
    """Two layers that write their caches, with work of Inductor's around."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        shape = (2, 4, 2, KV_HEADS, HEAD_DIM)
        if kind == "hnd":
            shape = (2, 4, KV_HEADS, 2, HEAD_DIM)
        if kind == "buffers":
            for i in range(2):
                for name in ("k", "v"):
                    self.register_buffer(f"{name}{i}", torch.zeros(shape[1:], dtype=torch.int8))
        self.shape = shape

    def new_caches(self):
        return [] if self.kind == "buffers" else [
            torch.zeros(self.shape, dtype=torch.int8) for _ in range(2)]

    def caches(self, i, given):
        if self.kind == "buffers":
            return getattr(self, f"k{i}"), getattr(self, f"v{i}")
        views = [stacked[i] for stacked in given]
        return [view.transpose(1, 2) for view in views] if self.kind == "hnd" else views

    def forward(self, x, cos, sin, indices, scale, *given):
        total = torch.zeros(())
        for i in range(2):
            k, v = self.caches(i, given)
            q, _, _ = op(x * (i + 1), cos, sin, k, v, indices, scale, scale,
                         ATTRIBUTES["size_splits"], cache_mode="page")
            x = torch.nn.functional.silu(x) + 1
            total = total + q.float().sum()
        return q, total


def inputs():
    tensors, _ = torch_call()
    return tuple(tensors[name] for name in ("x", "cos", "sin", "indices", "scale_k"))


def all_caches(layers, given):
    return given or list(layers.buffers())


@pytest.mark.parametrize("kind", ["stacked", "hnd", "buffers"])
def test_compiled_graphs_copy_no_cache(kind):
    eager, compiled = Layers(kind), Layers(kind)
    eager_caches, caches = eager.new_caches(), compiled.new_caches()
    expected = eager(*inputs(), *eager_caches)
    run = torch.compile(compiled, fullgraph=True)
    found, code = run_and_get_code(run, *inputs(), *caches)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])  # Inductor adds in another order
    for one, other in zip(all_caches(compiled, caches), all_caches(eager, eager_caches)):
        assert one.any()
        assert torch.equal(one, other)
    (text,) = code
    assert "ropekv.dequant_rope_quant_kvcache" in text
    # The graph allocates no int8: it works on the caches themselves.
    assert not re.search(r"empty_strided\w*\([^\n]*torch\.int8\b", text)
    assert re.search(r"empty_strided\w*\([^\n]*float", text)  # what an allocation looks like
    version = [cache.clone() for cache in caches]
    run(*inputs(), *caches)  # a second call writes the same
    assert all(torch.equal(cache, old) for cache, old in zip(caches, version))


def test_sizes_may_be_symbols():
    @torch.compile(fullgraph=True, dynamic=True)
    def step(x, cos, sin, k, v, indices, scale):
        return op(x + 0, cos, sin, k, v, indices, scale, scale, ATTRIBUTES["size_splits"],
                  cache_mode="page", kv_output=True)

    for tokens in (1, 3, 5):
        tensors, _ = torch_call(tokens=tokens)
        tensors["indices"] -= 2
        arguments = [tensors[name] for name in POSITIONAL[:7]]
        caches = [tensors[name].clone() for name in ("k_cache", "v_cache")]
        found = step(*arguments)
        expected = op(*arguments[:3], *caches, *arguments[5:], arguments[6],
                      ATTRIBUTES["size_splits"], cache_mode="page", kv_output=True)
        assert all(torch.equal(a, b) for a, b in zip(found, expected))
        assert torch.equal(tensors["k_cache"], caches[0])


def test_a_gradient_is_an_error_while_compiling():
    tensors, attributes = torch_call()
    tensors["x"].requires_grad_()
    with torch.enable_grad(), pytest.raises(Exception, match="requires a gradient"):
        torch.compile(lambda x: op(x, **others, **attributes), fullgraph=True)(
            tensors["x"]) if (others := {k: v for k, v in tensors.items() if k != "x"}) else None


def test_export_and_aoti(tmp_path):
    layers = Layers("stacked")
    program = torch.export.export(layers, (*inputs(), *layers.new_caches()))
    assert "ropekv.dequant_rope_quant_kvcache" in program.graph_module.code
    expected_caches, caches = layers.new_caches(), layers.new_caches()
    expected = layers(*inputs(), *expected_caches)
    found = program.module()(*inputs(), *caches)
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(a, b) for a, b in zip(caches, expected_caches))

    path = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "layers.pt2"))
    loaded = torch._inductor.aoti_load_package(path)
    caches = layers.new_caches()
    found = loaded(*inputs(), *caches)
    assert torch.equal(found[0], expected[0])
    assert caches[0].any()
    assert all(torch.equal(a, b) for a, b in zip(caches, expected_caches))


class Featured(torch.nn.Module):
    """A call with these options, and work of Inductor's before and after."""

    def __init__(self, attributes):
        super().__init__()
        self.attributes = attributes

    def forward(self, tensors):
        tensors = with_scales({**tensors, "x": tensors["x"] + 1})
        results = op(**tensors, **self.attributes)
        return *results, results[0].float() * 2


def in_eager_mode(tensors, attributes):
    """(results, caches), with caches of its own."""
    tensors = {**tensors, **{name: tensors[name].clone() for name in CACHES}}
    return Featured(attributes)(tensors), [tensors[name] for name in CACHES]


def assert_same(found, tensors, expected):
    results, caches = expected
    assert all(torch.equal(one, other) for one, other in zip(found, results, strict=True))
    for name, cache in zip(CACHES, caches, strict=True):
        assert cache.any()
        assert torch.equal(tensors[name], cache)


@pytest.mark.parametrize("feature", ["all_int8", "all_float"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_with_every_option(feature, dynamic):
    tensors, attributes = featured_call(feature)
    expected = in_eager_mode(tensors, attributes)
    run = torch.compile(Featured(attributes), fullgraph=True, dynamic=dynamic)
    found, (code,) = run_and_get_code(run, tensors)
    assert_same(found, tensors, expected)
    # The graph allocates what it makes before and after the call, and so copies no cache.
    assert len(re.findall(r"= empty_strided\w*\(", code)) == 2
    if dynamic:
        tensors, _ = featured_call(feature, 5)
        expected = in_eager_mode(tensors, attributes)
        with torch._dynamo.config.patch(error_on_recompile=True):
            assert_same(run(tensors), tensors, expected)


@pytest.mark.parametrize("feature", ["all_int8", "all_float"])
def test_export_and_aoti_with_every_option(feature, tmp_path):
    tensors, attributes = featured_call(feature)
    expected = in_eager_mode(tensors, attributes)
    copies = [{**tensors, **{name: tensors[name].clone() for name in CACHES}} for _ in range(2)]
    program = torch.export.export(Featured(attributes), (tensors,))
    assert_same(program.module()(copies[0]), copies[0], expected)
    path = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "call.pt2"))
    assert_same(torch._inductor.aoti_load_package(path)(copies[1]), copies[1], expected)


def test_an_out_dtype_that_does_not_fit_is_an_error_while_compiling():
    tensors, attributes = torch_call()
    run = torch.compile(Featured({**attributes, "out_dtype": "float32"}), fullgraph=True)
    with pytest.raises(Exception, match="out_dtype: q has dtype"):
        run(tensors)


def test_a_case_saved_by_torch(tmp_path):
    tensors, attributes = torch_call()
    ropekv.save_case(tmp_path / "case", **tensors, **attributes)
    loaded = ropekv.load_case(tmp_path / "case", "torch")
    assert torch.equal(loaded.tensors["x"], tensors["x"])
    assert Torch.to_numpy(loaded.tensors["scale_k"]).dtype == np.float32
