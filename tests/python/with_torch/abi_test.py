# SPDX-License-Identifier: Apache-2.0
"""The declarations of LibTorch's stable C ABI against the headers of the torch that is there."""

import pathlib
import re
import subprocess

import torch

ROOT = pathlib.Path(__file__).parents[3]
HEADERS = pathlib.Path(torch.__file__).parent / "include"

CHECK = """
#define TORCH_TARGET_VERSION 0x020A000000000000
#include <type_traits>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>
#define FUNCTION(result, name, parameters) \\
  static_assert(std::is_same_v<decltype(&name), result (*) parameters>, #name);
#include <frontends/python/torch/abi.inc>
"""


def compiled(text, *folders):
    return subprocess.run(
        ["g++", "-std=c++20", "-fsyntax-only", "-x", "c++", "-", *(f"-I{f}" for f in folders)],
        input=text, capture_output=True, text=True, check=False,
    )


def test_declarations_are_torchs():
    done = compiled(CHECK, ROOT, HEADERS)
    assert done.returncode == 0, done.stderr


def test_another_type_would_be_noticed(tmp_path):
    folder = tmp_path / "frontends/python/torch"
    folder.mkdir(parents=True)
    text = (ROOT / "frontends/python/torch/abi.inc").read_text()
    changed = text.replace("aoti_torch_get_dim, (AtenTensorHandle tensor, int64_t*",
                           "aoti_torch_get_dim, (AtenTensorHandle tensor, int32_t*")
    assert changed != text
    (folder / "abi.inc").write_text(changed)
    done = compiled(CHECK, tmp_path, HEADERS)
    assert "static assertion failed: aoti_torch_get_dim" in done.stderr


def test_declared_types_have_torchs_sizes():
    done = compiled(
        "#define TORCH_TARGET_VERSION 0x020A000000000000\n"
        "#include <torch/csrc/stable/c/shim.h>\n"
        "static_assert(sizeof(StableIValue) == 8 && sizeof(AOTITorchError) == 4);\n"
        "static_assert(sizeof(AtenTensorHandle) == 8);\n", HEADERS)
    assert done.returncode == 0, done.stderr
    own = (ROOT / "frontends/python/torch/abi.h").read_text()
    version = re.search(r"kTorchVersion = (0x\w+)", own).group(1)
    assert int(version, 16) == 0x020A000000000000
