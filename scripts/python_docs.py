#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""python_docs.py [--check]: writes docs/python.md from docs/python.md.in and the docstrings of the
installed package; with --check, fails if the file is not what it would write.

A line `@doc NAME` of the input becomes the signature and the docstring of ropekv.NAME.
"""
import argparse
import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ROOT / "frontends/python/ropekv"
OUTPUT = ROOT / "docs/python.md"
INPUT = ROOT / "docs/python.md.in"


def definitions():
    """{qualified name: syntax tree} of modules, classes, functions and methods."""
    found = {}
    for path in sorted(SOURCES.glob("*.py")):
        public = path.stem if not path.stem.startswith("_") else ""
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[public] = tree if public or path.stem == "__init__" else found.get("", tree)
        prefix = f"{public}." if public else ""
        for node in tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found[prefix + node.name] = node
                for member in getattr(node, "body", []):
                    if isinstance(member, ast.FunctionDef):
                        found[f"{prefix}{node.name}.{member.name}"] = member
    return found


def signature(name, node):
    """Python's spelling of how it is called, without types: the docstring has these."""
    if isinstance(node, ast.ClassDef):
        members = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
        if "__init__" not in members:
            return f"ropekv.{name}"
        node = members["__init__"]
    if isinstance(node, ast.Module):
        return f"ropekv.{name}".rstrip(".")
    if any(getattr(d, "id", "") == "property" for d in node.decorator_list):
        return f"ropekv.{name}"
    arguments = node.args
    parts = [a.arg for a in arguments.args if a.arg != "self"]
    if arguments.defaults:
        for i, default in enumerate(arguments.defaults[::-1], 1):
            parts[-i] += f"={ast.unparse(default)}"
    if arguments.kwonlyargs:
        parts.append("*")
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
            parts.append(argument.arg + ("" if default is None else f"={ast.unparse(default)}"))
    lines, line = [], f"ropekv.{name}("
    for i, part in enumerate(parts):
        text = part + (", " if i + 1 < len(parts) else "")
        if len(line) + len(text.rstrip()) > 96:
            lines.append(line.rstrip())
            line = "    "
        line += text
    return "\n".join([*lines, line + ")"])


def markdown(text):
    """A docstring's sections as headings and lists."""
    lines = []
    listed = False
    for line in text.splitlines():
        if re.fullmatch(r"(Tensors|Options|Raises):", line):
            lines += [f"**{line}**", ""]
            listed = True
        elif listed and re.match(r"    \S", line):
            name, _, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}")
        elif listed and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            listed = listed and not line.strip()
            lines.append(line)
    return "\n".join(lines)


def generated():
    known = definitions()
    out = []
    for line in INPUT.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"@doc ?(\S*)", line)
        if not match:
            out.append(line)
            continue
        name = match.group(1)
        text = ast.get_docstring(known[name])
        if not isinstance(known[name], ast.Module):
            out += ["```python", signature(name, known[name]), "```", ""]
        out.append(markdown(text))
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = generated()
    if not check:
        OUTPUT.write_text(text, encoding="utf-8")
    elif OUTPUT.read_text(encoding="utf-8") != text:
        sys.exit("docs/python.md is not what scripts/python_docs.py writes; run it")


if __name__ == "__main__":
    main()
