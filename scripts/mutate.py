#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mutate.py [--list] [--only REGEX] [--numbers N,N-N] [--quick] [--jobs N]: breaks the core on
purpose, in each way that scripts/mutants.py lists, one after another, and says which test notices.

All objects are those of build/release, but for what includes the file of the mutant: that is
compiled from a copy of the sources, with -O1 and, if it is a unit of kernels, for AVX-512 alone and
without most unrolled kernels. One program has all tests, those that take a second or more last, and
stops at the first that fails. A mutant that is noticed takes some seconds of a processor, one that
is not three minutes, or with --quick ten seconds without the slow tests.
A mutant that no test notices is a survivor: it wants a test, or a reason in mutants.py.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from mutants import MUTANTS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = ROOT / "build" / "release"
WORK = ROOT / "build" / "mutate"
# From quick to slow; run_test before what starts threads, for which one of its tests looks.
TESTS = ["spec_rules_test", "spec_dtypes_test", "device_limits_test", "dense_spec_test",
         "overlap_test", "slots_test", "call_rules_test", "index_rules_test", "limits_test",
         "numbers_test", "rounding_test", "path_test", "path_parts_test", "properties_test",
         "cache_properties_test", "rotary_properties_test", "rotary_equalities_test", "run_test",
         "quantise_test", "rotation_test", "bound_test", "fused_test", "isolation_test"]
SLOW = ":".join(["Sizes/SlotsTest.*", "*QuantiseTest.QuotientsNearHalves*", "Threads.*",
                 "*RotationTest.EdgesOfTheRange*", "*BoundTest.RandomCallsEqualUnbound*",
                 "*FusedTest.*", "FusedLarge.*", "Isolation.*"])
LIBRARIES = ["-lhwy", "-lgtest_main", "-lgtest", "-ltbb", "-lpthread"]
LINKER = ["-fuse-ld=lld"] if shutil.which("ld.lld") else []  # sooner done
TARGETS = "kernels/targets.h"
ALL_DISABLED = "#define HWY_DISABLED_TARGETS ("
MEMORY_LIMIT = 16 << 30
MOST_SECONDS = {False: 60, True: 600}  # of a processor, for the quick and for the slow tests


def includes_of(source):
    """The files of the project that this one includes, by any way."""
    found, todo = set(), [source]
    while todo:
        path = todo.pop()
        for name in re.findall(r'#include "([^"]+)"', path.read_text()):
            for folder in (ROOT / "src", ROOT / "include", ROOT / "tests"):
                if (folder / name).exists() and folder / name not in found:
                    found.add(folder / name)
                    todo.append(folder / name)
    return {str(path.relative_to(ROOT)) for path in found}


class Object:
    """An object of build/release, and how it is made again."""

    def __init__(self, entry):
        source = pathlib.Path(entry["file"])
        unit = re.fullmatch(r"unit_(\w+)\.cc", source.name)
        self.source = str(source.relative_to(ROOT))
        self.unit = unit[1] if unit else None
        self.command = [word for word in shlex.split(entry["command"]) if word != "-Werror"]
        self.ready = RELEASE / self.command[self.command.index("-o") + 1]
        self.includes = {self.source} | includes_of(source)

    def wanted(self, tree, path):
        """Whether a mutant of this tree and file is in it. Units of other dtypes stay."""
        return path in self.includes and self.unit in (None, tree)


def release_objects():
    """Those of the core, then those of the tests, in their order."""
    entries = json.loads((RELEASE / "compile_commands.json").read_text())
    core, support, tests = [], [], {}
    for entry in entries:
        name = pathlib.Path(entry["file"]).relative_to(ROOT)
        if str(name).startswith(("src/", "build/release/src/")):
            core.append(Object(entry))
        elif str(name).startswith("tests/support/") and "test_support.dir" in entry["command"]:
            support.append(Object(entry))
        elif name.parent == pathlib.Path("tests") and name.stem in TESTS:
            tests[name.stem] = Object(entry)
    return core + [tests[name] for name in TESTS] + support


def limited(command, seconds=resource.RLIM_INFINITY, timeout=None):
    """The code, or None if it waits for ever, and the output."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=timeout, preexec_fn=limit, cwd=RELEASE)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return None, (late.stdout or b"").decode(errors="replace")


class Tree:
    """A copy of the sources, and what is compiled from it."""

    skipped = {}  # of each unit: tests that fail without a mutant
    preparing = threading.Lock()

    def __init__(self, number, objects):
        self.folder = WORK / str(number)
        self.objects = objects
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("include", "src"):
            shutil.copytree(ROOT / name, self.folder / name)
        # Found before that in src.
        text = (ROOT / "src" / TARGETS).read_text()
        if text.count(ALL_DISABLED) != 1:
            sys.exit(f"src/{TARGETS}: has no {ALL_DISABLED!r}")
        only = self.folder / "unit" / TARGETS
        only.parent.mkdir(parents=True)
        only.write_text(text.replace(ALL_DISABLED, ALL_DISABLED + "HWY_AVX2 | HWY_SSE4 | "))

    def build(self, objects):
        """The program with these compiled again; an error's text if that fails."""
        compiled = []
        for number, made in enumerate(objects):
            command = [word.replace(f"{ROOT}/src", f"{self.folder}/src")
                           .replace(f"{ROOT}/include", f"{self.folder}/include")
                       for word in made.command]
            if made.unit:
                command[1:1] = [f"-I{self.folder}/unit", "-DROPEKV_FEWER_KERNELS"]
            compiled.append(self.folder / f"{number}.o")
            command[command.index("-o") + 1] = str(compiled[-1])
            code, output = limited(command + ["-O1", "-w"])
            if code != 0:
                errors = [line for line in output.splitlines() if "error" in line]
                return "; ".join(errors[:2]) or f"{made.source}: the compiler gives {code}"
        # The compiled ones first: an inline function is the first that the linker finds.
        rest = [made.ready for made in self.objects if made not in objects]
        code, output = limited([objects[0].command[0], *LINKER, "-o",
                                self.folder / "core_tests", *compiled, *rest, *LIBRARIES])
        return "" if code == 0 else f"does not link: {output[-500:]}"

    def test(self, tree, slow, *options):
        """Runs the quick tests of a tree, or the slow ones."""
        if tree == "core":
            chosen = SLOW if slow else "*"
        else:  # in 512 bits: this source's, those of all, and the contract's numbers
            chosen = (f"*FusedTest.*/{tree}_*avx512*:*BoundTest.R*/{tree}_*avx512*:"
                      "*RotationTest.EdgesOfTheRange*/avx512*" if slow else
                      f"*/{tree}_*avx512*:*/avx512*:Numbers.*:Offsets.*:Rounding.*")
        left_out = self.skipped.get(tree, []) + ([] if slow else [SLOW])
        return limited([self.folder / "core_tests", f"--gtest_filter={chosen}-{':'.join(left_out)}",
                        *options], MOST_SECONDS[slow], 3600)

    def prepare(self, tree, sets):
        """What fails without a mutant notices none: tests that ask which kernel a call gets."""
        if tree in self.skipped:
            return
        self.skipped[tree] = []
        if tree == "core":
            return
        if error := self.build([made for made in self.objects if made.unit == tree]):
            sys.exit(error)
        for slow in sets:
            self.skipped[tree] += failed(self.test(tree, slow)[1])
            code, output = self.test(tree, slow) if self.skipped[tree] else (0, "")
            if code != 0:
                sys.exit(f"{tree}: fails without a mutant: {' '.join(failed(output))}")

    def outcome(self, tree, path, old, new, sets):
        """What becomes of a mutant, and who noticed it."""
        with self.preparing:
            self.prepare(tree, sets)
        file = self.folder / path
        original = file.read_text()
        file.write_text(original.replace(old, new))
        try:
            if error := self.build([made for made in self.objects if made.wanted(tree, path)]):
                return "does not compile", error
        finally:
            file.write_text(original)
        for slow in sets:
            code, output = self.test(tree, slow, "--gtest_fail_fast")
            if code != 0:
                how = ("" if code is not None and code >= 0 else
                       " (does not end)" if code in (None, -signal.SIGXCPU, -signal.SIGKILL) else
                       f" (dies: {code})")
                return "noticed", "".join(failed(output)[:1]) + how
        return "survives", ""


def failed(output):
    """The tests that failed, and the one that did not end."""
    names = re.findall(r"^\[  FAILED  \] (\S+?)(?:,| \(|$)", output, re.MULTILINE)
    begun = re.findall(r"^\[ RUN      \] (\S+)$", output, re.MULTILINE)
    if begun and "[==========]" not in output[output.rindex(begun[-1]):]:
        names.append(begun[-1])
    return sorted(set(names), key=names.index)


def run_mutant(trees, number, mutant, sets):
    tree, path, old, new, *reason = mutant
    started = time.monotonic()
    place = trees.get()
    try:
        what, by = place.outcome(tree, path, old, new, sets)
    finally:
        trees.put(place)
    print(f"{number:4} {path}: {' '.join(old.split())[:60]!r} -> {' '.join(new.split())[:60]!r}"
          f"\n     {what}{' by ' if what == 'noticed' else ' '}{by or ''.join(reason)}"
          f" ({time.monotonic() - started:.0f} s)", flush=True)
    return number, what, by, reason


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="only check that the patterns exist")
    parser.add_argument("--only", default="", help="mutants whose file and text match")
    parser.add_argument("--numbers", default=f"1-{len(MUTANTS)}",
                        help="these, in this order, as 7-9,3")
    parser.add_argument("--quick", action="store_true", help="without the tests that are slow")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()

    wanted = []
    for some in options.numbers.split(","):
        first, _, last = some.partition("-")
        wanted += range(int(first), int(last or first) + 1)
    gone = 0
    matching = {}
    for number, mutant in enumerate(MUTANTS, 1):
        _, path, old, new = mutant[:4]
        count = (ROOT / path).read_text().count(old)
        if count != 1 or old == new:
            print(f"mutants.py: {number}: {path} has {old!r} {count} times, not once")
            gone += 1
        elif re.search(options.only, f"{path} {old} {new}"):
            matching[number] = mutant
    chosen = [(number, matching[number]) for number in wanted if number in matching]
    print(f"{len(MUTANTS)} mutants, {gone} whose text is gone, {len(chosen)} chosen", flush=True)
    if options.list or not chosen:
        return 1 if gone or not chosen else 0

    for command in (["cmake", "--preset", "release"],
                    ["cmake", "--build", "--preset", "release", "--target", *TESTS]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    objects = release_objects()
    sets = [False] if options.quick else [False, True]
    trees = queue.SimpleQueue()
    for number in range(options.jobs):
        trees.put(Tree(number, objects))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(run_mutant, trees, number, mutant, sets)
                   for number, mutant in chosen]
        results = [future.result() for future in futures]
    noticed = sum(what == "noticed" for _, what, _, _ in results)
    known = sum(what == "survives" and bool(reason) for _, what, _, reason in results)
    bad = sorted((number, what, by) for number, what, by, reason in results
                 if what == "does not compile" or (what == "survives" and not reason))
    for number, what, by in bad:
        print(f"mutant {number} {what} {by}")
    print(f"{len(results)} mutants: {noticed} noticed, {known} survive with a reason, "
          f"{len(bad)} bad")
    return 1 if bad or gone else 0


if __name__ == "__main__":
    sys.exit(main())
