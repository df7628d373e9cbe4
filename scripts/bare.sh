#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bare.sh [SUITE [MIRROR [PACKAGE...]]]: runs README's two commands on the last commit in a system
# that has nothing installed yet: Debian 13, or the suite that debootstrap is told. The packages stand
# before the suite's own: compilers, as g++-13, and those of PyPI, as cmake==3.28.4. As root; it takes
# 3 GB in build/bare, and half an hour on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "bare.sh: FAILED after $(total_time)" >&2' EXIT

suite=${1:-trixie}
mirror=${2:-}
name="bare $suite${3:+ with ${*:3}}"
root=$PWD/build/bare/$suite
debian=() pypi=()
for package in "${@:3}"; do
  if [[ $package == *==* ]]; then pypi+=("$package"); else debian+=("$package"); fi
done
[[ ${#pypi[@]} -eq 0 ]] || debian+=(ca-certificates python3-pip)

make_system() {
  local include versioned
  rm -rf "$root"
  mkdir -p "$root/usr/local/share/ca-certificates" "$root/root/ropekv"
  # Those that this machine's administrator added: a proxy may need them.
  cp -r /usr/local/share/ca-certificates "$root/usr/local/share/"
  include=$(IFS=, && echo "${debian[*]}")
  quietly debootstrap --variant=minbase ${include:+--include="$include"} "$suite" "$root" \
    ${mirror:+"$mirror"}
  # Of C, too: CMake looks for c++ where it has found cc. The links lead nowhere from out here.
  for versioned in "$root"/usr/bin/{gcc,g++,clang,clang++}-[0-9]*; do
    [[ -e $versioned ]] || continue
    ln -s "/usr/bin/${versioned##*/}" "$root/usr/local/bin/$(basename "${versioned%-*}")"
  done
  [[ ! -L $root/usr/local/bin/gcc ]] || ln -s gcc "$root/usr/local/bin/cc"
  [[ ! -L $root/usr/local/bin/g++ ]] || ln -s g++ "$root/usr/local/bin/c++"
  # An older g++ has a libstdc++.so of its own, with which the suite's libraries cannot be linked.
  for versioned in "$root"/usr/lib/gcc/*/*/libstdc++.so; do
    [[ -e $versioned ]] || continue
    ln -sf "/usr/lib/$(basename "$(dirname "${versioned%/*}")")/libstdc++.so.6" "$versioned"
  done
  if [[ ${#pypi[@]} -gt 0 ]]; then
    quietly inside pip install --break-system-packages "${pypi[@]}"
    quietly inside ldconfig
  fi
  git archive HEAD | tar --extract --directory "$root/root/ropekv"
}

# inside COMMAND...: with mounts that end with it.
inside() {
  unshare --mount --pid --fork --kill-child --root="$root" --mount-proc \
    env --ignore-environment PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
}

# What the builds found. The name of a folder is CMake's version.
show_versions() {
  (cd "$root/root/ropekv/build" && grep --extended-regexp --only-matching \
    'CMAKE_CXX_COMPILER_(ID|VERSION) "[^"]*"' {release,asan-ubsan,tsan}/CMakeFiles/*/CMakeCXXCompiler.cmake)
  grep --no-filename '^TBB_DIR' "$root"/root/ropekv/build/release/CMakeCache.txt
}

[[ $EUID -eq 0 ]] || { echo "bare.sh: only root can change the root folder" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "bare.sh: needs debootstrap" >&2; exit 2; }
step "A $name" make_system
step "scripts/demo.sh in it" inside bash /root/ropekv/scripts/demo.sh
step "scripts/test.sh in it" inside bash /root/ropekv/scripts/test.sh
step "Versions" show_versions
rm -rf "$root"

printf '\nbare.sh: both commands pass on a %s, in %s\n' "$name" "$(total_time)"
