// SPDX-License-Identifier: Apache-2.0
// Replaces operator new in the programs it is linked into, so that memory runs out when a test
// says.
#ifndef ROPEKV_TESTS_SUPPORT_FAILING_NEW_H_
#define ROPEKV_TESTS_SUPPORT_FAILING_NEW_H_

#include <gtest/gtest.h>

#include <cstdint>

namespace ropekv::testing {

// The n-th allocation from now on fails, whichever thread makes it; those after it succeed.
void FailAllocation(int64_t n);
// None fails any more. Whether one has since FailAllocation.
bool StopFailing();
// Allocations that have not been released.
int64_t LiveAllocations();

// Calls `call` with its first allocation failing, then with its second, and so on until none fails.
// `check(outcome, failed)` looks at what each call returned; what a call leaves allocated is a
// leak. Returns how many allocations there were.
template <class Call, class Check>
int64_t FailEachAllocation(Call call, Check check) {
  for (int64_t n = 1;; ++n) {
    const int64_t before = LiveAllocations();
    bool failed = false;
    {
      FailAllocation(n);
      const auto outcome = call();
      failed = StopFailing();
      check(outcome, failed);
    }
    EXPECT_EQ(LiveAllocations(), before) << "after the failure of allocation " << n;
    if (!failed) return n - 1;
  }
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_FAILING_NEW_H_
