#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hardened.py FILE...: fails unless these programs and shared libraries have no memory that is both
writable and executable, nor ask for a stack that is, and have all addresses of other libraries
resolved at the start and read-only from then on.
"""
import re
import subprocess
import sys


def readelf(option, file):
    return subprocess.run(["readelf", "--wide", option, file], check=True, capture_output=True,
                          text=True).stdout


def faults(headers, dynamic):
    """What is wrong with a file of which readelf says this."""
    segments = re.findall(r"^ +([A-Z_]+) +0x\S+ 0x\S+ 0x\S+ 0x\S+ 0x\S+ ([R ][W ][E ])", headers,
                          re.MULTILINE)
    kinds = {kind for kind, _ in segments}
    for kind, flags in segments:
        if "W" in flags and "E" in flags:
            yield f"{kind} is writable and executable"
    for kind in ("LOAD", "GNU_STACK", "GNU_RELRO"):
        if kind not in kinds:
            yield f"has no {kind}"
    if not re.search(r"\((FLAGS|FLAGS_1)\).*\b(BIND_NOW|NOW)\b", dynamic):
        yield "resolves addresses late"


def main():
    errors = 0
    for file in sys.argv[1:]:
        for fault in faults(readelf("--segments", file), readelf("--dynamic", file)):
            print(f"{file}: {fault}")
            errors += 1
    print(f"{len(sys.argv) - 1} files, {errors} faults")
    return 1 if errors or len(sys.argv) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
