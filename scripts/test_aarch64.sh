#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_aarch64.sh: builds for aarch64 with Debian's cross compiler, and runs the tests under qemu on
# processors with NEON only, with SVE, and with SVE2, of 128, 256 and 512 bits.
#
# Every variant of every target is compared with the reference at each length of vectors, in every
# rotary style and with every dtype of caches: by as many random cases as elsewhere, with an eighth
# of the tokens (tests/support/share.h). All else runs once, where NEON is all there is.
#
# Left out:
# - NEON and scalar code on processors that differ in the length of SVE's vectors alone;
# - streaming past the caches, of which tests/path_test.cc sees that no code for Arm does it;
# - what takes long and looks at the same lines as on x86-64: memory and system calls that fail one
#   by one, damaged files, the benchmark, README's commands, and NumPy's opinion of the command;
# - the soak test, which would watch the emulator's memory;
# - what starts itself again, for which this machine's kernel would have to know aarch64;
# - a child of fork that must not hang: its ten seconds are too few;
# - what installs and links, what looks at sources, and vectors longer than 512 bits.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
export ROPEKV_TEST_SHARE=8
trap '[[ $? -eq 0 ]] || echo "test_aarch64.sh: FAILED after $(total_time)" >&2' EXIT

# Tests start the command by its path, which this machine's kernel does not know how to run.
wrap_command() {
  local ropekv=build/aarch64/frontends/cli/ropekv
  [[ $(head --bytes=2 "$ropekv") != "#!" ]] || return 0
  mv "$ropekv" "$ropekv.aarch64"
  printf '#!/bin/sh\nexec qemu-aarch64 "$0.aarch64" "$@"\n' >"$ropekv"
  chmod +x "$ropekv"
}

# run_on PROCESSOR TARGETS TITLE CTEST_OPTION...: the tests on a processor that has these targets.
run_on() {
  local processor=$1 targets=$2 title=$3 usable
  shift 3
  usable=$(QEMU_CPU=$processor build/aarch64/frontends/cli/ropekv info |
    sed -n 's/^targets usable *//p')
  if [[ $usable != "$targets" ]]; then
    echo "test_aarch64.sh: $processor has the targets '$usable', not '$targets'" >&2
    return 1
  fi
  QEMU_CPU=$processor step "$title: $processor" run_tests aarch64 "$@"
}

# case_of TARGET...: matches the tests' cases of a target, by the end of their names.
case_of() { echo "[/_]($(IFS='|'; echo "$*"))( |\$)"; }
every_target='^(bytes|targets)$'
streaming='StreamingEqualsReference'
long='^(FaultsTest|HostileFile\.RandomDamage|Bench|CopyFloor|UnfusedChain'
long+='|bench\.report|oracle\.|readme\.|soak$)'

again='^aclnn\.(Fork\.|Init\.MessagesPerProcess$)'

step "Packages of the tests" bash scripts/setup.sh test
step "Packages for aarch64" bash scripts/setup.sh aarch64
step "Build, optimised, g++ for aarch64" build aarch64
wrap_command
step "Hardening" python3 tests/hardening/hardened.py build/aarch64/frontends/cli/ropekv.aarch64 \
  build/aarch64/frontends/aclnn/lib64/*.so
run_on max,sve128=on "sve2 sve neon scalar" "Every target" \
  --label-regex "$every_target" --exclude-regex "$streaming"
for length in 256 512; do
  run_on max,sve$length=on "sve2 sve neon scalar" "SVE and SVE2" \
    --label-regex "$every_target" --exclude-regex "$streaming|$(case_of neon scalar)"
done
run_on a64fx "sve neon scalar" "SVE without SVE2" \
  --label-regex '^targets$' --exclude-regex "$(case_of sve2 neon scalar)"
run_on cortex-a72 "neon scalar" "The other tests" \
  --label-exclude '^(bytes|flags|format|install|layering)$' \
  --exclude-regex "$(case_of sve sve2)|$long|$again|^(aclnn\.install|hardening\.files)$"

printf '\ntest_aarch64.sh: all tests passed in %s\n' "$(total_time)"
