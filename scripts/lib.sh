# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it: steps with a title and a time.
jobs=$(nproc)
seconds_at_start=$SECONDS

# step TITLE COMMAND...: runs the command under a title. Its output goes through; the time follows.
step() {
  local title=$1 started=$SECONDS
  shift
  printf '\n== %s\n' "$title"
  "$@"
  printf -- '-- %d s\n' $((SECONDS - started))
}

# quietly COMMAND...: shows the command's output only if it fails.
quietly() {
  local log code=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || code=$?
  [[ $code -eq 0 ]] || cat "$log" >&2
  rm -f "$log"
  return $code
}

# build PRESET [TARGET...]: on a terminal with a line of progress.
build() {
  local preset=$1
  shift
  local command=(cmake --build --preset "$preset" --parallel "$jobs" ${1:+--target "$@"})
  quietly cmake --preset "$preset"
  if [[ -t 1 ]]; then "${command[@]}"; else quietly "${command[@]}"; fi
}

# run_tests PRESET [CTEST OPTION...]: off a terminal, only what did not pass and the summary.
run_tests() {
  local preset=$1
  shift
  local command=(ctest --preset "$preset" --parallel "$jobs" --no-tests=error "$@")
  if [[ -t 1 ]]; then
    "${command[@]}" --progress
  else
    "${command[@]}" | grep -vE '^ *(Start +[0-9]+: |[0-9]+/[0-9]+ Test +#[0-9]+: .* Passed )'
  fi
}

total_time() {
  local total=$((SECONDS - seconds_at_start))
  printf '%d min %d s' $((total / 60)) $((total % 60))
}
