#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# setup.sh [test|aarch64|python]: installs the Debian packages that a build needs and that are
# missing; also those of the tests, of the tests cross-built for aarch64, or of the Python package.
# Silent when there is nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(cmake g++ libcli11-dev libfmt-dev libhwy-dev libtbb-dev make ninja-build
  nlohmann-json3-dev pkg-config)
if [[ ${1:-} == test ]]; then
  packages+=(clang libclang-rt-dev libgmock-dev libgtest-dev python3 python3-matplotlib
    python3-numpy)
elif [[ ${1:-} == aarch64 ]]; then
  packages+=(g++-aarch64-linux-gnu python3 python3-numpy qemu-user
    lib{fmt,gmock,gtest,hwy,tbb}-dev:arm64 libgomp1:arm64)
elif [[ ${1:-} == python ]]; then
  packages+=(python3-dev python3-venv)
elif [[ $# -gt 0 ]]; then
  echo "setup.sh: knows 'test', 'aarch64' and 'python', not '$1'" >&2
  exit 2
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

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "needs root or sudo for: $*"
    sudo "$@"
  fi
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes \
    -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1
}

# install PACKAGE...: those that are missing.
install() {
  # A package may be installed for another architecture too, which does not count.
  local package architecture found missing=()
  for package in "$@"; do
    architecture=$([[ $package == *:* ]] && echo "${package#*:}" || dpkg --print-architecture)
    found=$(dpkg-query --show --showformat '${Architecture} ${db:Status-Status}\n' "$package" \
      2>/dev/null || true)
    grep -qxE "(all|$architecture) installed" <<<"$found" || missing+=("$package")
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

if [[ ${1:-} == aarch64 && $(dpkg --print-foreign-architectures) != *arm64* ]]; then
  as_root dpkg --add-architecture arm64
fi
install "${packages[@]}"
if [[ ${1:-} == test ]]; then
  install_clang_format
fi
