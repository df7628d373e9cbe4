#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# flags_test.sh COMPILER OPTIONS LINK_OPTIONS: each flag below does not survive the library's own
# options after it, and is refused if it comes after them.
set -euo pipefail

compiler=$1
read -ra options <<<"${2//SHELL:/}"
read -ra link_options <<<"${3//SHELL:/}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags=(-ffast-math -Ofast -ffinite-math-only -funsigned-char)
if [[ $("$compiler" --version) != *clang* ]]; then
  flags+=(-funsafe-math-optimizations)  # with clang no macro tells of it
  if [[ $("$compiler" -dumpmachine) == x86_64* ]]; then
    flags+=(-mfpmath=387)
  fi
fi

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

compile() {
  "$compiler" -std=c++20 "$@" -Wno-error -fsyntax-only -x c++ /dev/null 2>&1
}

# Succeeds if subnormal numbers are kept.
cat >"$work/program.cc" <<'END'
int main() {
  volatile float small = 1e-37f;
  return small / 16 == 0 ? 1 : 0;
}
END

# A program, and one with a shared library, each linked with these options.
link_and_run() {
  "$compiler" "$work/program.cc" "$@" -o "$work/program"
  "$work/program" || return 1
  "$compiler" -shared -fPIC -x c++ /dev/null -x none "$@" -o "$work/library.so"
  "$compiler" "$work/program.cc" -Wl,--no-as-needed "$work/library.so" -o "$work/program"
  "$work/program"
}

for flag in "${flags[@]}"; do
  echo "$flag"
  compile "$flag" "${options[@]}" || fail "$flag before the library's own options is refused"
  link_and_run "$flag" "${link_options[@]}" ||
    fail "$flag at the link changes the processor's state"
  [[ $flag != -Ofast ]] || continue  # to g++ it is the same wherever it stands
  if output=$(compile "${options[@]}" "$flag") || [[ $output != *'"ropekv: '* ]]; then
    fail "$flag after the library's own options is not refused: $output"
  fi
done
if link_and_run -Ofast; then
  fail "-Ofast leaves the processor's state as it is, and the test proves nothing"
fi
