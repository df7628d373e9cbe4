# SPDX-License-Identifier: Apache-2.0
"""`python -m ropekv`, and the command `ropekv`: the program of the C++ library."""

import os
import pathlib
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Becomes the program, with the arguments of this process."""
    program = pathlib.Path(__file__).with_name("bin") / "ropekv"
    os.execv(program, ["ropekv", *sys.argv[1:]])


if __name__ == "__main__":
    main()
