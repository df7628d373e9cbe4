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

total_time() {
  local total=$((SECONDS - seconds_at_start))
  printf '%d min %d s' $((total / 60)) $((total % 60))
}
