// SPDX-License-Identifier: Apache-2.0
#ifndef ROPEKV_TESTS_FUZZ_REQUIRE_H_
#define ROPEKV_TESTS_FUZZ_REQUIRE_H_

#include <cstdio>
#include <cstdlib>
#include <string>

namespace ropekv::testing {

// What must hold whatever the input is; the fuzzer keeps an input for which it does not.
inline void Require(bool holds, const char* what, const std::string& detail = "") {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s %s\n", what, detail.c_str());
  std::abort();
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_FUZZ_REQUIRE_H_
