#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# older_x86.sh: runs the release build on processors of before AVX-512, emulated by qemu: without
# SSE4's companions, without F16C, without AVX2, and with it. Each chooses the best target that it
# has, gives the bytes that this processor gives, and passes the tests of bytes that are quick there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "older_x86.sh: FAILED after $(total_time)" >&2' EXIT
export ROPEKV_TEST_SHARE=8

ropekv=build/release/frontends/cli/ropekv
folder=build/older_x86
tests=(rounding path path_parts rotary_equalities rotation)

# A case, and what this processor makes of it.
make_case() {
  local name=$1
  shift
  "$ropekv" gen "$@" --seed 7 -o "$folder/$name" >/dev/null
  "$ropekv" run "$folder/$name" -o "$folder/$name.here" >/dev/null
}

make_cases() {
  rm -rf "$folder"
  mkdir -p "$folder"
  make_case bf16 --model llama-3-8b --batch 5 --offsets
  make_case f16 --model phi-2 --batch 5 --x f16 --kv-output
  make_case f32 --model gpt-oss-20b --batch 5 --x f32
  make_case i32 --model glm-4-9b-chat --batch 5 --x i32 --dtype f16
  make_case i32_bf16 --model gemma-2-9b --batch 5 --x i32 --dtype bf16 --cache page
}

# on_processor NAME TARGET: the one that it must choose.
on_processor() {
  local processor=$1 target=$2 chosen case_file
  chosen=$(qemu-x86_64 -cpu "$processor" "$ropekv" info 2>/dev/null | sed -n 's/^target chosen *//p')
  if [[ $chosen != "$target" ]]; then
    echo "older_x86.sh: $processor has chosen '$chosen', not '$target'" >&2
    return 1
  fi
  for case_file in "$folder"/*.here; do
    case_file=${case_file%.here}
    qemu-x86_64 -cpu "$processor" "$ropekv" run "$case_file" -o "$case_file.there" >/dev/null 2>&1
    cmp "$case_file.here" "$case_file.there"
  done
  for name in "${tests[@]}"; do
    quietly qemu-x86_64 -cpu "$processor" "build/release/tests/${name}_test"
  done
}

command -v qemu-x86_64 >/dev/null || { echo "older_x86.sh: needs qemu-user" >&2; exit 2; }
step "Packages" bash scripts/setup.sh test
step "Build, optimised, g++" build release ropekv_cli "${tests[@]/%/_test}"
step "Cases" make_cases
step "Nehalem" on_processor Nehalem scalar
step "Westmere" on_processor Westmere sse4
step "Sandy Bridge" on_processor SandyBridge sse4
step "Haswell" on_processor Haswell avx2

printf '\nolder_x86.sh: the same bytes on each, in %s\n' "$(total_time)"
