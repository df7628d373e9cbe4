#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# setup.sh [test]: installs the Debian packages that a build needs (with `test`, also those of the
# tests) and that are missing. Silent when there is nothing to do.
set -euo pipefail

packages=(cmake g++ libcli11-dev libfmt-dev libhwy-dev libtbb-dev make ninja-build
  nlohmann-json3-dev pkg-config)
if [[ ${1:-} == test ]]; then
  packages+=(clang libclang-rt-14-dev libgmock-dev libgtest-dev python3 python3-matplotlib python3-numpy)
fi

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

for tool in apt-get dpkg dpkg-query; do
  command -v "$tool" >/dev/null ||
    fail "this system has no $tool; install by hand what Debian calls: ${packages[*]}"
done

# A package of another architecture may be installed too, for cross-compiling; it does not count.
machine=$(dpkg --print-architecture)
missing=()
for package in "${packages[@]}"; do
  found=$(dpkg-query --show --showformat '${Architecture} ${db:Status-Status}\n' "$package" \
    2>/dev/null || true)
  grep -qxE "(all|$machine) installed" <<<"$found" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || fail "needs root or sudo to install: ${missing[*]}"
  as_root=(sudo)
fi

echo "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes \
    -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1
}
# A failed update may concern a source that is not needed.
apt update || true
if ! apt install --no-install-recommends "${missing[@]}"; then
  cat "$log" >&2
  fail "apt-get could not install: ${missing[*]}"
fi
