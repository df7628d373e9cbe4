#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh [MINUTES [NAME...]]: runs each fuzzer of tests/fuzz, or those named, for so long (10), one
# beside the other as there are processors. What it has learnt stays in build/fuzz/corpus, what it has
# found in build/fuzz/found; a new seed is made of the former by
#   build/fuzz/tests/fuzz/NAME_fuzz -merge=1 tests/fuzz/seeds/NAME build/fuzz/corpus/NAME
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "fuzz.sh: FAILED after $(total_time)" >&2' EXIT

minutes=${1:-10}
shift || true
names=("$@")
[[ $# -gt 0 ]] || names=(safetensors spec_args aclnn)

# fuzz NAME: its output but for what it says of each new input; then its figures.
fuzz() {
  local corpus=build/fuzz/corpus/$1 log=build/fuzz/$1.log code=0
  local options=(-timeout=60 -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0)
  mkdir -p "$corpus" build/fuzz/found
  [[ $1 != safetensors ]] || options+=(-dict=tests/fuzz/safetensors.dict)
  "build/fuzz/tests/fuzz/${1}_fuzz" "${options[@]}" -max_total_time=$((minutes * 60)) \
    -artifact_prefix="build/fuzz/found/$1-" "$corpus" "tests/fuzz/seeds/$1" >"$log" 2>&1 || code=$?
  if [[ $code -ne 0 ]]; then
    cat "$log" >&2
    return "$code"
  fi
  awk -v name="$1" '/number_of_executed_units/ { runs = $2 } /average_exec_per_sec/ { rate = $2 }
    END { printf "%-12s %d executions, %d a second\n", name, runs, rate }' "$log"
}

all_at_once() {
  local running=() pid
  for name in "${names[@]}"; do
    [[ ${#running[@]} -lt $jobs ]] || { wait "${running[0]}"; running=("${running[@]:1}"); }
    fuzz "$name" &
    running+=($!)
  done
  for pid in "${running[@]}"; do wait "$pid"; done
}

step "Packages" bash scripts/setup.sh test
step "Build with clang, sanitizers and counters" build fuzz
step "Fuzzing, ${minutes} minutes each" all_at_once

printf '\nfuzz.sh: nothing found by %s, in %s\n' "${names[*]}" "$(total_time)"
