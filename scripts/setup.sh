#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# setup.sh [test]: installs the Debian packages that a build needs (with `test`, also those of the
# tests) and that are missing. Silent when there is nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(cmake g++ libcli11-dev libfmt-dev libhwy-dev libtbb-dev make ninja-build
  nlohmann-json3-dev pkg-config)
if [[ ${1:-} == test ]]; then
  packages+=(clang libclang-rt-dev libgmock-dev libgtest-dev python3 python3-matplotlib
    python3-numpy)
fi

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

for tool in apt-get dpkg dpkg-query; do
  command -v "$tool" >/dev/null ||
    fail "this system has no $tool; install by hand what Debian calls: ${packages[*]}"
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT

apt() {
  local as_root=()
  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || fail "needs root or sudo for: apt-get $*"
    as_root=(sudo)
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes \
    -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1
}

# install PACKAGE...: those that are missing.
install() {
  # A package of another architecture may be installed too, for cross-compiling; it does not count.
  local machine package found missing=()
  machine=$(dpkg --print-architecture)
  for package in "$@"; do
    found=$(dpkg-query --show --showformat '${Architecture} ${db:Status-Status}\n' "$package" \
      2>/dev/null || true)
    grep -qxE "(all|$machine) installed" <<<"$found" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  echo "installing ${missing[*]}"
  # A failed update may concern a source that is not needed.
  apt update || true
  if ! apt install --no-install-recommends "${missing[@]}"; then
    cat "$log" >&2
    fail "apt-get could not install: ${missing[*]}"
  fi
}

# The version that tests/format wants: the distribution's, or else PyPI's in a folder of its own.
install_clang_format() {
  if command -v clang-format-14 >/dev/null || [[ -x build/tools/bin/clang-format ]]; then
    return
  fi
  apt update || true
  if apt-cache show clang-format-14 >/dev/null 2>&1; then
    install clang-format-14
    return
  fi
  install python3-venv
  echo "installing clang-format 14 in build/tools"
  if ! { python3 -m venv build/tools && build/tools/bin/pip install clang-format==14.0.6; } \
    >"$log" 2>&1; then
    cat "$log" >&2
    fail "could not install PyPI's clang-format 14.0.6 in build/tools"
  fi
}

install "${packages[@]}"
if [[ ${1:-} == test ]]; then
  install_clang_format
fi
