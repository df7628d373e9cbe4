#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# flags.sh [NAME...]: builds the tests of bytes under each set of flags that another project's build
# may have, and runs them: neither the flags before the library's own (cmake/flags.cmake) nor those
# it has no opinion of may change a byte. Half an hour on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

declare -A flags=(
  [fast-math]=-ffast-math
  [ofast]=-Ofast
  [unsigned-char]=-funsigned-char
  [x87]=-mfpmath=387
  [lto]=-flto=auto
  [native]=-march=native
  [no-strict-aliasing]=-fno-strict-aliasing
  [short-enums]=-fshort-enums
)
names=("$@")
if [[ $# -eq 0 ]]; then
  names=(fast-math ofast unsigned-char x87 lto native no-strict-aliasing short-enums)
fi
for name in "${names[@]}"; do
  [[ -n ${flags[$name]:-} ]] || { echo "flags.sh: no flags are called '$name'" >&2; exit 2; }
done
trap '[[ $? -eq 0 ]] || echo "flags.sh: FAILED after $(total_time)" >&2' EXIT

build_with() {
  local folder=build/flags/$1
  quietly cmake --preset release -B "$folder" -DCMAKE_CXX_FLAGS="${flags[$1]}" \
    -DROPEKV_BUILD_CLI=OFF -DROPEKV_BUILD_ACLNN=OFF
  quietly cmake --build "$folder" --parallel "$jobs" --target byte_tests
}

run_in() {
  quietly ctest --test-dir "$1" --parallel "$jobs" --no-tests=error --output-on-failure \
    --label-regex '^bytes$'
}

for name in "${names[@]}"; do
  step "Build with ${flags[$name]}" build_with "$name"
  step "Tests of bytes" run_in "build/flags/$name"
done

printf '\nflags.sh: the same bytes with %s, in %s\n' "${names[*]}" "$(total_time)"
