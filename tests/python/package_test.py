# SPDX-License-Identifier: Apache-2.0
"""The installed package: what is in it, its types, its command, and files of cases."""

import ast
import importlib.metadata
import inspect
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import ropekv
from equality_test import assert_same_bytes
from families import FAMILIES
from ropekv import _core
from small_call import BF16, HEAD_DIM, small_call

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = pathlib.Path(ropekv.__file__).parent
OUTPUTS = ("q", "k", "v")


def run(*command):
    return subprocess.run(
        [sys.executable, "-m", "ropekv", *command], capture_output=True, text=True, check=False
    )


def dynamic_section(path):
    text = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True)
    return re.findall(r"\((NEEDED|RUNPATH|SONAME)\).*\[(.*)\]", text.stdout)


def test_the_package_is_the_installed_one():
    assert not PACKAGE.is_relative_to(ROOT)
    assert importlib.metadata.version("ropekv") == ropekv.__version__
    assert f"project(ropekv VERSION {ropekv.__version__} " in (ROOT / "CMakeLists.txt").read_text()


def test_one_library_beside_its_users():
    libraries = sorted(path.name for path in PACKAGE.glob("libropekv*"))
    assert libraries == ["libropekv.so"]
    assert ("SONAME", "libropekv.so") in dynamic_section(PACKAGE / "libropekv.so")
    (core,) = PACKAGE.glob("_core.*.so")
    for user, path in ((core, "$ORIGIN"), (PACKAGE / "bin" / "ropekv", "$ORIGIN/..")):
        section = dynamic_section(user)
        assert ("NEEDED", "libropekv.so") in section
        assert path in dict(section)["RUNPATH"].split(":")


def test_no_torch_in_the_library():
    symbols = subprocess.run(
        ["nm", "--dynamic", "--demangle", PACKAGE / "libropekv.so"], capture_output=True, text=True,
        check=True,
    ).stdout
    assert "MakePlan" in symbols
    assert not re.search(r"\b(torch|aoti|c10|at::|Py[A-Z])", symbols)
    code = "import sys, ropekv; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_tensor_of_the_library_is_an_argument():
    names = {f"{name}_out" if name in OUTPUTS else name for name in _core.TENSORS}
    for function in (ropekv.dequant_rope_quant_kvcache, ropekv.reference, ropekv.Plan,
                     ropekv.Plan.run, ropekv.Plan.check):
        assert names <= inspect.signature(function).parameters.keys()
    run_options = {"num_threads", "target"}
    assert run_options == (
        inspect.signature(ropekv.dequant_rope_quant_kvcache).parameters.keys()
        - inspect.signature(ropekv.reference).parameters.keys()
    )


def test_types():
    program = "\n".join([
        "import ropekv",
        "import numpy as np",
        "out = ropekv.dequant_rope_quant_kvcache(*[np.zeros(1)] * 8, (1, 1, 1), kv_output=True)",
        "reveal_type(out)",
        "reveal_type(ropekv.usable_targets())",
        "ropekv.Plan(1)",
    ])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null", "-c", program],
        capture_output=True, text=True, check=False, cwd=os.path.dirname(sys.executable),
    )
    assert 'Revealed type is "tuple[Any, Any, Any, fallback=ropekv._operator.Outputs]"' in (
        done.stdout)
    assert 'Revealed type is "list[str]"' in done.stdout
    assert "Missing positional arguments" in done.stdout
    sources = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml",
         ROOT / "frontends/python/ropekv"],
        capture_output=True, text=True, check=False,
    )
    assert sources.returncode == 0, sources.stdout
    stub = ast.parse((PACKAGE / "_core.pyi").read_text())
    declared = {getattr(node, "name", None) or node.target.id for node in stub.body[3:]}
    types = {"Attributes"}  # for the checker only
    assert declared - types == {name for name in vars(_core) if not name.startswith("__")}


def test_the_command():
    assert run("info").stdout.splitlines()[0].split() == ["version", ropekv.__version__]
    assert run("info").stdout.splitlines()[2].split()[2:] == ropekv.usable_targets()
    assert run("no-such-subcommand").returncode == 2
    script = pathlib.Path(sys.executable).with_name("ropekv")
    assert subprocess.run([script, "info"], capture_output=True, check=True).stdout


def test_targets():
    assert set(ropekv.usable_targets()) <= set(ropekv.built_targets())
    assert "scalar" in ropekv.usable_targets()
    tensors, attributes = small_call()
    for target in ropekv.usable_targets():
        plan = ropekv.Plan(**tensors, **attributes, target=target)
        assert plan.target in ropekv.usable_targets()
        assert plan.num_tokens == 3
    assert ropekv.Plan(**tensors, **attributes, target="scalar").target == "scalar"


@pytest.mark.parametrize("family", ["numpy", *({"torch"} & FAMILIES.keys())])
@pytest.mark.parametrize("x_dtype", [np.int32, np.float16, BF16])
def test_cases_go_to_the_command_and_back(tmp_path, family, x_dtype):
    out_dtype = np.float16 if x_dtype == np.int32 else x_dtype
    tensors, attributes = small_call(x_dtype=x_dtype, out_dtype=out_dtype)
    tensors = {name: t for name, t in tensors.items() if not name.endswith("_out")}
    tensors["scale_k"] = tensors["scale_k"].T.copy().T  # a strided one is stored dense
    tensors["bias"] = tensors.get("bias")  # None: not stored
    wrap = FAMILIES[family].wrap
    path = tmp_path / "case.safetensors"
    ropekv.save_case(
        path, **{name: t if t is None else wrap(t) for name, t in tensors.items()}, **attributes
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["case.safetensors"]
    case = ropekv.load_case(path, family)
    assert case.attributes == {
        **attributes, "numerics": "float32", "rotary_dim": 0, "rotary_style": "half"}
    assert case.tensors.keys() == {name for name, t in tensors.items() if t is not None}
    for name, loaded in case.tensors.items():
        assert np.array_equal(FAMILIES[family].to_numpy(loaded), tensors[name])
    verified = run("verify", str(path))
    assert (verified.returncode, verified.stderr) == (0, "")
    assert run("run", str(path), "-o", str(tmp_path / "out")).returncode == 0
    outputs = ropekv.dequant_rope_quant_kvcache(**case.arguments)

    from safetensors import safe_open

    with safe_open(tmp_path / "out", "numpy") as file:
        for name in OUTPUTS:
            result = FAMILIES[family].to_numpy(getattr(outputs, name))
            assert_same_bytes(name, result, file.get_tensor(name))
        for name in ("k_cache", "v_cache"):
            cache = FAMILIES[family].to_numpy(case.tensors[name])
            assert_same_bytes(name, cache, file.get_tensor(name))


def test_a_case_with_everything(tmp_path):
    tensors, attributes = small_call()
    tensors = {name: t for name, t in tensors.items() if not name.endswith("_out")}
    tensors |= {"positions": np.array([1, 0, 2]), "indices": tensors["indices"].astype(np.int64)}
    attributes |= {"rotary_dim": HEAD_DIM // 2, "rotary_style": "interleaved"}
    for name in ("cos", "sin"):
        tensors[name] = tensors[name][:, : HEAD_DIM // 2]
    path = tmp_path / "case.safetensors"
    ropekv.save_case(path, **tensors, **attributes)
    case = ropekv.load_case(path)
    assert case.attributes == {**attributes, "numerics": "float32"}
    assert case.tensors["positions"].dtype == np.int64
    found = ropekv.dequant_rope_quant_kvcache(**case.arguments)
    expected = ropekv.reference(**tensors, **attributes)
    assert np.array_equal(found.q, expected.q)
    assert np.array_equal(case.tensors["k_cache"], tensors["k_cache"])
    assert tensors["k_cache"].any()


def test_a_packed_case_of_the_command(tmp_path):
    path = tmp_path / "case.safetensors"
    made = run("gen", "--model", "glm-4-9b-chat", "--batch", "3", "--x", "f16", "--positions",
               "--packed", "--half-width", "-o", str(path))
    assert made.returncode == 0, made.stderr
    assert run("run", str(path), "-o", str(tmp_path / "out")).returncode == 0
    case = ropekv.load_case(path)
    assert np.shares_memory(case.tensors["cos"], case.tensors["sin"].base)
    outputs = ropekv.dequant_rope_quant_kvcache(**case.arguments)

    from safetensors import safe_open

    with safe_open(tmp_path / "out", "numpy") as file:
        assert_same_bytes("q", outputs.q, file.get_tensor("q"))
        assert_same_bytes("k_cache", case.tensors["k_cache"], file.get_tensor("k_cache"))


def test_bad_cases(tmp_path):
    tensors, attributes = small_call()
    path = tmp_path / "case.safetensors"
    with pytest.raises(TypeError, match="q_out: is not part of a case"):
        ropekv.save_case(path, **tensors, **attributes)
    tensors = {name: t for name, t in tensors.items() if not name.endswith("_out")}
    with pytest.raises(TypeError, match="size_splits: is required"):
        ropekv.save_case(path, **tensors)
    with pytest.raises(TypeError, match="x: is a list"):
        ropekv.save_case(path, **{**tensors, "x": [1]}, **attributes)
    assert list(tmp_path.iterdir()) == []
    ropekv.save_case(path, **tensors, **attributes)
    with pytest.raises(ValueError, match="framework: is 'jax'"):
        ropekv.load_case(path, "jax")

    from safetensors.numpy import save_file

    save_file({"x": tensors["x"]}, path, {"size_splits": "1,2"})
    assert ropekv.load_case(path).attributes["size_splits"] == (1, 2)
    save_file({"x": tensors["x"]}, path)
    with pytest.raises(ValueError, match="metadata 'size_splits' is None"):
        ropekv.load_case(path)


def test_the_readmes_example(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert example.endswith(f"# {done.stdout}")


def test_the_documents_are_current():
    script = ROOT / "scripts/python_docs.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
