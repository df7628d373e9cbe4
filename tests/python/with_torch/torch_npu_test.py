# SPDX-License-Identifier: Apache-2.0
"""torch_npu's spelling."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.library import opcheck

import ropekv
from families import Torch
from ropekv import torch_npu
from with_torch.op_test import torch_call

RESULTS = ("q", "k", "v")
DEQUANT = ("weight_scale", "activation_scale", "bias")


def call_of(name, **options):
    dequant = name == "npu_dequant_rope_quant_kvcache"
    tensors, attributes = torch_call(x_dtype=np.int32 if dequant else np.float16, **options)
    return tensors, attributes


NAMES = ["npu_dequant_rope_quant_kvcache", "npu_rope_quant_kvcache"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kv_output", [False, True])
def test_five_results_of_ascends_numerics(name, kv_output):
    tensors, attributes = call_of(name)
    attributes["kv_output"] = kv_output
    expected_tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    expected = ropekv.reference(**expected_tensors, **attributes, numerics="ascend")
    results = getattr(torch_npu, name)(**tensors, **attributes)
    assert results[3] is tensors["k_cache"]
    assert results[4] is tensors["v_cache"]
    for cache in ("k_cache", "v_cache"):
        assert tensors[cache].any()
        assert torch.equal(tensors[cache], expected_tensors[cache])
    for result, wanted in zip(results, expected):
        if wanted is None:
            assert result.shape == (0,)
        else:
            assert torch.equal(result, wanted)
    # float32 would give other bytes
    other = ropekv.reference(**expected_tensors, **attributes, numerics="float32")
    assert not torch.equal(results[0], other.q)


REFUSALS = [
    ({"quant_mode": 1}, "quant_mode: is 1; must be 0"),
    ({"input_layout": "BNSD"}, "input_layout: is 'BNSD'; must be 'BSND'"),
    ({"cache_mode": "paged"}, "cache_mode: is 'paged'"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("options", "message"), REFUSALS)
def test_refusals(name, options, message):
    tensors, attributes = call_of(name)
    with pytest.raises(RuntimeError, match=message):
        getattr(torch_npu, name)(**tensors, **{**attributes, **options})
    assert not tensors["k_cache"].any()


def test_each_wants_its_x():
    tensors, attributes = call_of(NAMES[1])
    with pytest.raises(RuntimeError, match="x: has dtype torch.float16; must be torch.int32"):
        torch_npu.npu_dequant_rope_quant_kvcache(**tensors, **attributes)
    tensors, attributes = call_of(NAMES[0])
    for name in DEQUANT:
        del tensors[name]
    with pytest.raises(RuntimeError, match="x: has dtype torch.int32, which"):
        torch_npu.npu_rope_quant_kvcache(**tensors, **attributes)


def test_installed_it_takes_the_place_of_torch_npu():
    torch_npu.install()
    torch_npu.install()
    import torch_npu as installed

    for name in NAMES:
        tensors, attributes = call_of(name)
        assert getattr(installed, name) is getattr(torch_npu, name)
        op = getattr(torch.ops.npu, name)
        schema = {argument.name for argument in op.default._schema.arguments}
        assert schema == inspect.signature(getattr(installed, name)).parameters.keys()
        eager = op(**tensors, **attributes)
        assert eager[3] is tensors["k_cache"]
        first = {key: tensors.pop(key) for key in list(tensors)[:8]}
        splits = attributes.pop("size_splits")
        opcheck(op.default, (*first.values(), splits), {**tensors, **attributes},
                test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"))
        caches = [first[key].clone() for key in ("k_cache", "v_cache")]
        compiled = torch.compile(lambda *a, **k: op(*a, **k), fullgraph=True)
        with torch.no_grad():
            results = compiled(*first.values(), splits, **tensors, **attributes)
        assert torch.equal(results[0], eager[0])
        assert torch.equal(results[3], caches[0])
        assert Torch.to_numpy(results[3]).any()


def test_install_refuses_beside_the_real_one(tmp_path):
    (tmp_path / "torch_npu.py").write_text("")
    code = "import ropekv.torch_npu as t\ntry: t.install()\nexcept RuntimeError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert done.stdout == "torch_npu is installed; ropekv does not take its place\n"
