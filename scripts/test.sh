#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds everything and runs all tests: optimised with g++, then with clang under the address and
# undefined behaviour sanitizers, then those that use threads under the thread sanitizer.
# On two cores it takes about 28 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "test.sh: FAILED after $(total_time)" >&2' EXIT

# What the thread sanitizer is for: a plan or a call shared by threads, streams and their events.
threaded_targets=(run_test aclnn_{callback,event,stream,stress}_test)
threaded_tests='^(Threads|aclnn\.(CallbackTest|EventTest|StreamTest|Stress))\.'

step "Packages" bash scripts/setup.sh test
step "Build, optimised, g++" build release
step "All tests" run_tests release
step "Build with clang, address and undefined behaviour sanitizers" build asan-ubsan
step "Tests under these sanitizers" run_tests asan-ubsan
step "Build with the thread sanitizer" build tsan "${threaded_targets[@]}"
step "Tests with threads, under this sanitizer" run_tests tsan --tests-regex "$threaded_tests"

printf '\ntest.sh: all tests passed in %s\n' "$(total_time)"
