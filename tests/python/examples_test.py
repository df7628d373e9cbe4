# SPDX-License-Identifier: Apache-2.0
"""The examples that need no torch, in a short form."""

import pathlib
import subprocess
import sys

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples/python"


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_paged_decode():
    text = run("paged_decode.py", "--steps", "40", "--batch", "3")
    assert "40 steps of 3 places" in text
    assert "every step equals the reference" in text
    assert " 0 sequences ended" not in text
