#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_aarch64.sh: builds for aarch64 with Debian's cross compiler, and runs the tests under qemu on
# processors with NEON only, with SVE, and with SVE2, of 128, 256 and 512 bits.
#
# The tests of bytes reach every line of the kernels that any test reaches,
# on every target that a processor has: they run once for each length of vectors. The others, the
# command's and the aclnn front end's among them, run where NEON is all there is and where SVE2 is
# missing. Left out: what installs and links, what looks at sources, which is the same on every
# machine, and vectors longer than 512 bits.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "test_aarch64.sh: FAILED after $(total_time)" >&2' EXIT

# Tests start the command by its path, which this machine's kernel does not know how to run.
wrap_command() {
  local ropekv=build/aarch64/frontends/cli/ropekv
  [[ $(head --bytes=2 "$ropekv") != "#!" ]] || return 0
  mv "$ropekv" "$ropekv.aarch64"
  printf '#!/bin/sh\nexec qemu-aarch64 "$0.aarch64" "$@"\n' >"$ropekv"
  chmod +x "$ropekv"
}

step "Packages of the tests" bash scripts/setup.sh test
step "Packages for aarch64" bash scripts/setup.sh aarch64
step "Build, optimised, g++ for aarch64" build aarch64
wrap_command
for processor in max,sve{128,256,512}=on; do
  QEMU_CPU=$processor step "Tests of bytes, NEON, SVE and SVE2: $processor" run_tests aarch64 \
    --label-regex '^bytes$'
done
for processor in cortex-a72 a64fx; do
  QEMU_CPU=$processor step "The other tests: $processor" run_tests aarch64 \
    --label-exclude '^(bytes|flags|format|install|layering)$' --exclude-regex '^aclnn\.install$'
done

printf '\ntest_aarch64.sh: all tests passed in %s\n' "$(total_time)"
