// SPDX-License-Identifier: Apache-2.0
// How much of their random work tests do: all of it, or, with ROPEKV_TEST_SHARE=8 in the
// environment, an eighth. That is for emulated processors, on which a case takes twenty times as
// long (scripts/test_aarch64.sh).
#ifndef ROPEKV_TESTS_SUPPORT_SHARE_H_
#define ROPEKV_TESTS_SUPPORT_SHARE_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace ropekv::testing {

// The share of `amount` to do, and no less than `least` of it. A bound on what was met is shared as
// the work is: nothing that must be met at all may come to 0.
inline int64_t Share(int64_t amount, int64_t least = 1) {
  static const int64_t divisor = [] {
    const char* text = std::getenv("ROPEKV_TEST_SHARE");
    if (!text) return 1L;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1) {
      std::fprintf(stderr, "ROPEKV_TEST_SHARE must be a whole number from 1 on, not '%s'\n", text);
      std::abort();
    }
    return value;
  }();
  return std::max(least, amount / divisor);
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_SHARE_H_
