#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mutate.py [--list] [--only REGEX] [--jobs N]: breaks the core on purpose, in each way that
scripts/mutants.py lists, one after another, and says which test notices.

Each mutant is built in a copy of the tree, in build/mutate, of which only what changed is compiled
again. To be quick the copies are compiled with -O1, the core's takes the kernels of build/release as
they are, and those for kernels have one source dtype each.
A mutant that no test notices is a survivor: it wants a test, or a reason in mutants.py.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from mutants import MUTANTS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutate"
# From quick to slow; run_test before what starts threads, for which one of its tests looks.
TESTS = ["spec_rules_test", "spec_dtypes_test", "device_limits_test", "dense_spec_test",
         "overlap_test", "slots_test", "run_test", "call_rules_test", "index_rules_test",
         "limits_test", "numbers_test", "rounding_test", "path_test", "properties_test",
         "cache_properties_test", "rotary_properties_test", "rotary_equalities_test",
         "quantise_test", "rotation_test", "fused_test", "bound_test", "isolation_test"]
VARIANTS = "src/kernels/variants.h"
MEMORY_LIMIT = 16 << 30
# Of a processor, whatever else the machine is doing; without a mutant less than a minute.
MOST_SECONDS = 600
PROGRAM = f"""
add_executable(core_tests {" ".join(test + ".cc" for test in TESTS)})
target_link_libraries(core_tests PRIVATE ropekv_test_support GTest::gtest_main TBB::tbb)
ropekv_defaults(core_tests)
"""


def ready_kernels(text):
    """src/CMakeLists.txt with kernels that have been compiled."""
    objects = sorted((ROOT / "build/release/src/CMakeFiles/ropekv_kernels.dir").rglob("*.o"))
    begin = text.index("# A translation unit for each source dtype")
    end = text.index("ropekv_component(run ")
    return (text[:begin] + "add_library(ropekv_kernels OBJECT IMPORTED)\n"
            "set_target_properties(ropekv_kernels PROPERTIES IMPORTED_OBJECTS\n  \""
            + ";".join(map(str, objects)) + "\")\n" + text[end:])


def one_source(text, source):
    """variants.h with this source dtype alone."""
    text = re.sub(r"(#define ROPEKV_SOURCES\(S\)).*?\n\n", rf"\1 S({source})\n\n", text,
                  flags=re.DOTALL)
    return re.sub(r"(#define ROPEKV_VARIANTS\(V\)).*?\n\n",
                  rf"\1 ROPEKV_VARIANTS_OF_{source}(V)\n\n", text, flags=re.DOTALL)


class Tree:
    """A copy of the sources and its build."""

    def __init__(self, name):
        self.name = name
        self.source = WORK / name / "source"
        self.build = WORK / name / "build"
        self.skipped = []

    def run(self, command, seconds=resource.RLIM_INFINITY):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", timeout=3600, preexec_fn=limit)
            return done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:  # it waits for ever
            return None, (late.stdout or b"").decode(errors="replace")

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)

    def prepare(self):
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "CMakeLists.txt",
             "cmake", "include", "src", "tests"],
            cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        for name in listed:
            if (ROOT / name).suffix in {".h", ".cc", ".txt", ".cmake", ".in", ".supp"}:
                text = (ROOT / name).read_text()
                if name == VARIANTS and self.name != "core":
                    text = one_source(text, self.name)
                if name == "src/CMakeLists.txt" and self.name == "core":
                    text = ready_kernels(text)
                if name == "tests/CMakeLists.txt":  # one program is linked sooner than many
                    text = text[:text.index("# ropekv_test(name")] + PROGRAM
                self.write(self.source / name, text)
        code, output = self.run(
            ["cmake", "-S", self.source, "-B", self.build, "-G", "Ninja",
             "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1", "-DROPEKV_BUILD_CLI=OFF",
             "-DROPEKV_BUILD_ACLNN=OFF"])
        if code != 0:
            sys.exit(output)
        code, output = self.compile()
        if code != 0:
            sys.exit(output)
        # Some need all dtypes, and fail or die in a tree that has one.
        while failed := self.failed(self.test()[1]):
            if self.name == "core" or set(failed) <= set(self.skipped):
                sys.exit(f"{self.name}: fails without a mutant: {' '.join(failed)}")
            self.skipped += failed

    def compile(self):
        return self.run(["ninja", "-C", self.build, "-j1", "core_tests"])

    def test(self, *options):
        # Those of kernels are instances of a suite.
        chosen = "*" if self.name == "core" else "*/*:Numbers.*:Rounding.*"
        options = [f"--gtest_filter={chosen}-{':'.join(self.skipped)}", *options]
        return self.run([self.build / "tests" / "core_tests", *options], MOST_SECONDS)

    @staticmethod
    def failed(output):
        """The tests that failed, and the one that did not end."""
        failed = re.findall(r"^\[  FAILED  \] (\S+?)(?:,| \(|$)", output, re.MULTILINE)
        begun = re.findall(r"^\[ RUN      \] (\S+)$", output, re.MULTILINE)
        if begun and "[==========]" not in output[output.rindex(begun[-1]):]:
            failed.append(begun[-1])
        return sorted(set(failed), key=failed.index)

    def noticed_by(self):
        """The first test that notices the mutant; None if no one does."""
        code, output = self.test("--gtest_fail_fast")
        failed = self.failed(output)
        how = ("" if code is not None and code >= 0 else
               " (does not end)" if code in (None, -signal.SIGXCPU, -signal.SIGKILL) else
               f" (dies: {code})")
        if code == 0:
            return None
        return (failed[0] if failed else "") + how

    def outcome(self, path, old, new):
        """What becomes of a mutant, and who noticed it."""
        original = (self.source / path).read_text()
        self.write(self.source / path, original.replace(old, new))
        try:
            code, output = self.compile()
            if code != 0:
                lines = [line for line in output.splitlines() if "error" in line]
                return "does not compile", "; ".join(lines[:2])
            by = self.noticed_by()
            return ("noticed", by) if by else ("survives", "")
        finally:
            self.write(self.source / path, original)


def run_tree(tree, mutants):
    tree.prepare()
    results = []
    for number, (_, path, old, new, *reason) in mutants:
        started = time.monotonic()
        what, by = tree.outcome(path, old, new)
        results.append((number, what, by, reason))
        print(f"{number:4} {path}: {' '.join(old.split())[:60]!r} -> {' '.join(new.split())[:60]!r}"
              f"\n     {what}{' by ' if what == 'noticed' else ' '}{by or ''.join(reason)}"
              f" ({time.monotonic() - started:.0f} s)", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="only check that the patterns exist")
    parser.add_argument("--only", default="", help="mutants whose file and text match")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()

    gone = 0
    trees = {}
    for number, mutant in enumerate(MUTANTS, 1):
        tree, path, old, new = mutant[:4]
        count = (ROOT / path).read_text().count(old)
        if count != 1 or old == new:
            print(f"mutants.py: {number}: {path} has {old!r} {count} times, not once")
            gone += 1
        elif re.search(options.only, f"{path} {old} {new}"):
            trees.setdefault(tree, []).append((number, mutant))
    print(f"{len(MUTANTS)} mutants, {gone} whose text is gone, "
          f"{sum(map(len, trees.values()))} chosen")
    if options.list or not trees:
        return 1 if gone or not trees else 0

    if "core" in trees:
        subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", "--preset", "release", "--target", "ropekv_kernels"],
                       cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(run_tree, Tree(name), mutants) for name, mutants in trees.items()]
        results = [result for future in futures for result in future.result()]
    noticed = sum(what == "noticed" for _, what, _, _ in results)
    known = sum(what == "survives" and bool(reason) for _, what, _, reason in results)
    bad = sorted((number, what, by) for number, what, by, reason in results
                 if what == "does not compile" or (what == "survives" and not reason))
    for number, what, by in bad:
        print(f"mutant {number} {what} {by}")
    print(f"{len(results)} mutants: {noticed} noticed, {known} survive with a reason, {len(bad)} bad")
    return 1 if bad or gone else 0


if __name__ == "__main__":
    sys.exit(main())
