#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cmake_versions.sh [VERSION...]: builds and installs the library, and projects that use it, with
# other versions of CMake from PyPI: the oldest that it takes and the newest, unless others are
# given. Ten minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "cmake_versions.sh: FAILED after $(total_time)" >&2' EXIT

oldest=$(sed -n 's/^cmake_minimum_required(VERSION \([0-9.]*\))$/\1/p' CMakeLists.txt)
versions=("$@")
[[ $# -gt 0 ]] || versions=("$oldest.*" newest)

# get FOLDER VERSION
get() {
  rm -rf "$1"
  quietly python3 -m venv "$1"
  quietly "$1/bin/pip" install "cmake$([[ $2 == newest ]] || echo "==$2")"
  "$1/bin/cmake" --version | head -1
}

# build_with FOLDER
build_with() {
  quietly "$1/venv/bin/cmake" -S . -B "$1/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DROPEKV_BUILD_CLI=OFF -DROPEKV_BUILD_ACLNN=OFF
  quietly "$1/venv/bin/cmake" --build "$1/build" --parallel "$jobs" --target ropekv
}

test_with() {
  quietly "$1/venv/bin/ctest" --test-dir "$1/build" --parallel "$jobs" --no-tests=error \
    --output-on-failure --label-regex '^install$'
}

step "Packages" bash scripts/setup.sh test
step "Packages of virtual environments" bash scripts/setup.sh python
for version in "${versions[@]}"; do
  folder=$PWD/build/cmake-versions/${version%.\*}
  step "CMake $version" get "$folder/venv" "$version"
  step "The library" build_with "$folder"
  step "Projects that use it" test_with "$folder"
done

printf '\ncmake_versions.sh: builds and installs with CMake %s, in %s\n' "${versions[*]}" \
  "$(total_time)"
