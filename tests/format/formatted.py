#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""formatted.py ROOT: fails unless clang-format 14 leaves every C and C++ source as it is."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import layering

VERSION = "14"  # Others do other things with the same .clang-format.


def clang_format(root):
    """The program: the distribution's, or the one that scripts/setup.sh got from PyPI."""
    tools = root / "build" / "tools" / "bin"
    program = (shutil.which(f"clang-format-{VERSION}") or
               shutil.which("clang-format", path=f"{tools}{os.pathsep}{os.environ['PATH']}"))
    if program:
        text = subprocess.run([program, "--version"], check=True, capture_output=True,
                              text=True).stdout
        if re.search(rf"\bversion {VERSION}\.", text):
            return program
    return sys.exit(f"no clang-format {VERSION}; `bash scripts/setup.sh test` installs it")


def check(root, program):
    """(number of files, error lines) of the tree at `root`."""
    files = [path for path in layering.source_files(root) if path.suffix in layering.CODE]
    if not files:
        return 0, []
    run = subprocess.run([program, "--dry-run", "-Werror", "--style=file", *files], check=False,
                         capture_output=True, text=True)
    errors = re.findall(r"^.+:\d+:\d+: error: .*$", run.stderr, re.MULTILINE)
    return len(files), errors or ([run.stderr] if run.returncode != 0 else [])


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    program = clang_format(root)
    files, errors = check(root, program)
    for error in errors:
        print(error)
    print(f"{files} files, {len(errors)} errors")
    if errors:
        print(f"`{program} -i FILE` mends a file")
    return 1 if errors or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
