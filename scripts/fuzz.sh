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

# The longest inputs that are of use: a header with all tensors, a call's numbers, 64 calls.
declare -A max_len=([safetensors]=2048 [spec_args]=512 [aclnn]=257)

# run NAME OPTION...: to a log, which is shown if it fails.
run() {
  local name=$1 log=build/fuzz/$1.log code=0
  shift
  "build/fuzz/tests/fuzz/${name}_fuzz" -timeout=60 -rss_limit_mb=4096 "-max_len=${max_len[$name]}" \
    -artifact_prefix="build/fuzz/found/$name-" "$@" "build/fuzz/corpus/$name" \
    "tests/fuzz/seeds/$name" >"$log" 2>&1 || code=$?
  [[ $code -eq 0 ]] || cat "$log" >&2
  return $code
}

# fuzz NAME: for speed without what only helps to read a report, which found inputs give again, with
# new memory as it is and freed memory kept for a megabyte, and without weighing inputs, which takes
# a tenth of the time and leads to no more of them. Then, with all that the sanitizers have, each
# input that it knows once, and a look for leaks. Its figures.
fuzz() {
  local log=build/fuzz/$1.log
  local options=(-print_final_stats=1 -verbosity=0 -print_funcs=0 -detect_leaks=0 -entropic=0
    -reload=0)
  local quick=malloc_context_size=0:max_malloc_fill_size=0
  quick+=:quarantine_size_mb=1:thread_local_quarantine_size_kb=64
  mkdir -p "build/fuzz/corpus/$1" build/fuzz/found
  [[ $1 != safetensors ]] || options+=(-dict=tests/fuzz/safetensors.dict)
  ASAN_OPTIONS=$quick run "$1" -max_total_time=$((minutes * 60)) "${options[@]}"
  awk -v name="$1" '/number_of_executed_units/ { runs = $2 } /average_exec_per_sec/ { rate = $2 }
    END { printf "%-12s %d executions, %d a second", name, runs, rate }' "$log"
  run "$1" -runs=0
  awk '/inline 8-bit counters/ { match($0, /[0-9]+ inline/); all += substr($0, RSTART) }
    $2 == "INITED" { reached = $4 }
    END { printf "; %d branches of %d\n", reached, all }' "$log"
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
