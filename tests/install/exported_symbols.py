#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""exported_symbols.py LIBRARY INCLUDE_DIR: fails unless the shared library exports what its headers
declare and nothing else.

Weak symbols are template instantiations and inline members, which headers drag in; of those only
the namespace is checked.
"""
import pathlib
import re
import subprocess
import sys

REQUIRED = {"MakePlan", "Run", "CheckArgs", "RunReference", "Dense", "Version"}


def exported(library):
    """(type letter, demangled name) of each symbol that a program can link against."""
    lines = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--extern-only", "--demangle", library],
        check=True, capture_output=True, text=True).stdout.splitlines()
    for line in lines:
        _, letter, name = line.split(" ", 2)
        yield letter, name


def intended(letter, name, header_words):
    if letter in "WVu":
        # Some names of g++ 14's library are more than nm can demangle.
        return re.search(r"\bstd::|^__gnu_cxx::|^_ZN?K?(St|9__gnu_cxx)", name) is not None or (
            "ropekv::" in name and not re.search(r"ropekv::(internal|reference)::", name))
    member = re.fullmatch(r"ropekv::(?:\w+::)*(\w+)(?:\[abi:\w+\])?(?:\(.*\)(?: const)?)?", name)
    nested = re.match(r"ropekv::(internal|reference)::", name)
    return bool(member) and not nested and member.group(1) in header_words


def main():
    library, include_dir = sys.argv[1:]
    header_words = set()
    for header in pathlib.Path(include_dir).rglob("*.h"):
        header_words.update(re.findall(r"\w+", header.read_text()))
    symbols = list(exported(library))
    stray = [f"{letter} {name}" for letter, name in symbols
             if not intended(letter, name, header_words)]
    found = {re.sub(r"^ropekv::|\(.*", "", name) for _, name in symbols}
    missing = sorted(REQUIRED - found)
    for symbol in stray:
        print("exported but not declared in a public header:", symbol)
    for name in missing:
        print("not exported: ropekv::" + name)
    print(f"{len(symbols)} exported symbols, {len(stray)} stray, {len(missing)} missing")
    return 1 if stray or missing else 0


if __name__ == "__main__":
    sys.exit(main())
