#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""layering.py ROOT: checks the include rules of CONTRIBUTING.md and the licence lines."""
import os
import pathlib
import re
import sys

LICENCE = "SPDX-License-Identifier: Apache-2.0"
CODE = {".h", ".cc", ".cpp", ".c", ".inc"}
# Files without the line: prose, which LICENSE covers, data, and what other programs read.
WITHOUT_LICENCE = {".csv", ".md", ".json", ".png", ".txt", ".typed"}
WITHOUT_LICENCE_PLACES = ["LICENSE", "docs/python.md.in", "frontends/aclnn/version.info.in",
                          "tests/fuzz/seeds"]
IGNORED_FOLDERS = {".git", "__pycache__"}

# Patterns an #include must match, whole. Standard C++ headers have neither a slash nor a suffix.
STANDARD = r"[a-z_0-9]+"
PUBLIC = r"ropekv/.*"
HIGHWAY = r"hwy/.*"
TBB = r"(oneapi/)?tbb/.*"
SIMD = r".*intrin\.h|arm_neon\.h|arm_sve\.h"
INTERNAL = r"(types|plan|run|kernels|reference)/.*"
ASCEND = r"(acl|aclnn|aclnnop)/.*"

# Folders of the library see only what is listed for them.
ALLOWED = {
    "include": [STANDARD, PUBLIC],
    "src/types": [STANDARD, PUBLIC],
    "src/plan": [STANDARD, PUBLIC, r"plan/.*", r"kernels/call\.h"],
    "src/run": [STANDARD, PUBLIC, TBB, r"plan/.*", r"run/.*", r"kernels/call\.h"],
    "src/kernels": [STANDARD, PUBLIC, HIGHWAY, r"kernels/.*"],
    "src/reference": [STANDARD, PUBLIC, r"reference/.*"],
    "workload": [STANDARD, PUBLIC, r"workload/.*"],
}
# What single files may see besides.
ALSO_ALLOWED = {
    "src/reference/run_reference.cc": [r"plan/failure\.h", r"run/(check_args|weights)\.h"],
    "src/run/fp_env.h": [r"xmmintrin\.h"],  # MXCSR, not vectors
    "src/run/threads.cc": [r"(fcntl|unistd)\.h"],  # without memory
}
# Everything else may include what it likes, except these: (pattern, folders and files that may).
RESERVED = [
    (HIGHWAY, ["src/kernels", "bench/copy_floor.cc", "bench/unfused_chain.cc"]),
    (SIMD, ["src/kernels", "src/run/fp_env.h", "tests"]),
    (INTERNAL, ["src", "bench", "tests"]),
    (ASCEND, ["frontends/aclnn", "tests/aclnn", "examples/aclnn"]),
]


def matches(include, patterns):
    return any(re.fullmatch(pattern, include) for pattern in patterns)


def within(path, places):
    return any(path == place or path.startswith(place + "/") for place in places)


def include_errors(path, include):
    """Why the file `path` (relative to the root) may not include `include`; none if it may."""
    folder = next((folder for folder in ALLOWED if within(path, [folder])), None)
    if folder is None and within(path, ["src"]):
        yield f"no rule for this folder; add one to {os.path.basename(__file__)}"
    elif folder is not None:
        if not matches(include, ALLOWED[folder] + ALSO_ALLOWED.get(path, [])):
            yield f"{folder} may not include {include}"
    else:
        for pattern, places in RESERVED:
            if matches(include, [pattern]) and not within(path, places):
                yield f"{include} may be included only from {', '.join(places)}"


def needs_licence(relative):
    path = pathlib.PurePosixPath(relative)
    return path.name == "CMakeLists.txt" or not (
        path.suffix in WITHOUT_LICENCE or within(relative, WITHOUT_LICENCE_PLACES))


def licence_error(lines):
    first = lines[1:2] if lines[:1] and lines[0].startswith("#!") else lines[:1]
    return None if first and LICENCE in first[0] else f"does not begin with '{LICENCE}'"


def source_files(root):
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in IGNORED_FOLDERS
                               and not (folder == str(root) and name.startswith("build")))
        for name in sorted(names):
            path = pathlib.Path(folder, name)
            if needs_licence(path.relative_to(root).as_posix()):
                yield path


def check(root):
    """(number of files, number of includes, error lines) of the tree at `root`."""
    files, includes, errors = 0, 0, []
    for path in source_files(root):
        files += 1
        relative = path.relative_to(root).as_posix()
        lines = path.read_text(encoding="utf-8").splitlines()
        if error := licence_error(lines):
            errors.append(f"{relative}:1: {error}")
        if path.suffix not in CODE:
            continue
        for number, line in enumerate(lines, 1):
            found = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if found:
                includes += 1
                errors += [f"{relative}:{number}: {error}"
                           for error in include_errors(relative, found.group(1))]
    return files, includes, errors


def main():
    files, includes, errors = check(pathlib.Path(sys.argv[1]))
    for error in errors:
        print(error)
    print(f"{files} files, {includes} includes, {len(errors)} errors")
    return 1 if errors or files == 0 or includes == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
