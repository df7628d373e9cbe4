#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lint.sh [FILE...]: clang-tidy 14 (.clang-tidy says what it looks for, and why not for the rest) and
# cppcheck over all sources, or clang-tidy over these. Half an hour on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "lint.sh: FAILED after $(total_time)" >&2' EXIT

for tool in clang-tidy-14 cppcheck; do
  command -v "$tool" >/dev/null || { echo "lint.sh: needs $tool" >&2; exit 2; }
done
files=("$@")
if [[ $# -eq 0 ]]; then
  mapfile -t files < <(git ls-files 'src/*.cc' 'workload/*.cc' 'bench/*.cc' 'frontends/*.cc' 'tests/*.cc')
fi

tidy() {
  quietly cmake --preset release  # nothing need be built: the headers that it makes are there then
  # Fuzzers are clang's alone, the Python package has a build of its own: they are not in this one. It
  # is g++'s, and has options that clang lacks.
  printf '%s\n' "${files[@]}" | grep -vE '/fuzz/|^frontends/python/' |
    xargs --max-args=1 --max-procs="$jobs" clang-tidy-14 --quiet -p build/release \
      --extra-arg=-Wno-unknown-warning-option \
      --extra-arg=-Wno-ignored-optimization-argument 2>/dev/null
}

# Not uninitMemberVar in two places: memory on the stack that is written before it is read, and that
# it would cost a call to fill. Not CastInteger...: it takes an array of names for numbers. Not
# useInitializationList: a fixture's Spec is easier to read in a body. Not legacyUninitvar: addresses
# of arrays that are filled later. Not kernels and not syntaxError: cppcheck 2.10 cannot follow the
# macros of Highway and nanobind.
check() {
  cppcheck --std=c++20 --language=c++ --library=googletest --enable=warning,performance,portability \
    --inline-suppr --quiet --error-exitcode=1 -j "$jobs" -I include -I src -I . -I tests \
    -I frontends/aclnn/include -I frontends/aclnn/src --suppress='*:*-inl.h' \
    --suppress=uninitMemberVar:src/run/packed.cc \
    --suppress=uninitMemberVar:src/run/duplicate_search.h \
    --suppress=legacyUninitvar:src/run/walk.cc \
    --suppress=syntaxError:frontends/python/src/module.cc \
    --suppress=CastIntegerToAddressAtReturn:frontends/aclnn/src/ops/dequant_rope_quant_kvcache.cc \
    --suppress=CastIntegerToAddressAtReturn:tests/aclnn/fuzz/program.h \
    --suppress=useInitializationList \
    src/types src/plan src/run src/reference workload bench frontends tests
}

step "clang-tidy" tidy
[[ $# -gt 0 ]] || step "cppcheck" check
printf '\nlint.sh: nothing found, in %s\n' "$(total_time)"
