#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""commands.py README ROPEKV: runs the lines of the README's ```sh blocks that begin with `ropekv`,
in order, in an empty folder, with the given binary as `ropekv`. Each must succeed."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def command_lines(readme):
    for block in re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL):
        joined = block.replace("\\\n", " ")
        yield from (line for line in joined.splitlines() if line.startswith("ropekv "))


def main():
    readme, binary = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    lines = list(command_lines(readme.read_text()))
    if not lines:
        print("the README shows no ropekv command")
        return 1
    environment = dict(os.environ, PATH=f"{binary.parent}:{os.environ['PATH']}")
    with tempfile.TemporaryDirectory() as folder:
        for line in lines:
            print("$", line, flush=True)
            code = subprocess.run(["bash", "-c", line], cwd=folder, env=environment,
                                  check=False).returncode
            if code != 0:
                print("exit code", code)
                return 1
    print(f"{len(lines)} commands succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
