#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bare.sh [SUITE [MIRROR [PACKAGE...]]]: runs README's two commands on the last commit in a system
# that has nothing installed yet: Debian 13, or the suite that debootstrap is told. The packages are of
# compilers, as g++-13: they are used instead of the suite's own. As root; it takes 3 GB in build/bare,
# and an hour on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "bare.sh: FAILED after $(total_time)" >&2' EXIT

suite=${1:-trixie}
mirror=${2:-}
packages=("${@:3}")
name="bare $suite${packages[*]:+ with ${packages[*]}}"
root=$PWD/build/bare/$suite

make_system() {
  local include versioned
  rm -rf "$root"
  mkdir -p "$root/usr/local/share/ca-certificates" "$root/root/ropekv"
  include=$(IFS=, && echo "${packages[*]}")
  quietly debootstrap --variant=minbase ${include:+--include="$include"} "$suite" "$root" \
    ${mirror:+"$mirror"}
  for versioned in "$root"/usr/bin/{g++,clang,clang++}-[0-9]*; do
    [[ -e $versioned ]] || continue
    ln -s "/usr/bin/${versioned##*/}" "$root/usr/local/bin/$(basename "${versioned%-*}")"
  done
  [[ ! -e $root/usr/local/bin/g++ ]] || ln -s g++ "$root/usr/local/bin/c++"
  # Those that this machine's administrator added: a proxy may need them.
  cp -r /usr/local/share/ca-certificates "$root/usr/local/share/"
  git archive HEAD | tar --extract --directory "$root/root/ropekv"
}

# inside COMMAND...: with mounts that end with it.
inside() {
  unshare --mount --pid --fork --kill-child --root="$root" --mount-proc \
    env --ignore-environment PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
}

[[ $EUID -eq 0 ]] || { echo "bare.sh: only root can change the root folder" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "bare.sh: needs debootstrap" >&2; exit 2; }
step "A $name" make_system
step "scripts/demo.sh in it" inside bash /root/ropekv/scripts/demo.sh
step "scripts/test.sh in it" inside bash /root/ropekv/scripts/test.sh
rm -rf "$root"

printf '\nbare.sh: both commands pass on a %s, in %s\n' "$name" "$(total_time)"
