// SPDX-License-Identifier: Apache-2.0
// Calls whose allocations fail one by one.
#ifndef ROPEKV_TESTS_ACLNN_OUT_OF_MEMORY_H_
#define ROPEKV_TESTS_ACLNN_OUT_OF_MEMORY_H_

#include <functional>

#include "aclnn/fixture.h"
#include "support/failing_new.h"

namespace ropekv::testing {

class OutOfMemory : public AclTest {
 protected:
  // `call` returns a code; `undo` takes back what it did, when it succeeded.
  void FailEach(
      const char* name, const std::function<int()>& call,
      const std::function<int()>& undo = [] { return 0; }) {
    SCOPED_TRACE(name);
    int64_t failures = 0;
    CountFailures(call, undo, failures);
    EXPECT_GT(failures, 0);
  }

  // The same of calls that may need no memory.
  static void CountFailures(const std::function<int()>& call, const std::function<int()>& undo,
                            int64_t& failures) {
    const auto forget = [] {
      aclrtFree(nullptr);  // a message, so that the buffers for messages are always there
      TakeMessage();
    };
    ASSERT_EQ(call(), 0) << TakeMessage();
    ASSERT_EQ(undo(), 0);
    forget();
    const auto check = [&](int code, bool failed) {
      EXPECT_EQ(code != 0, failed);
      if (code == 0) {
        EXPECT_EQ(undo(), 0) << TakeMessage();
      }
      forget();
    };
    failures += FailEachAllocation(call, check);
  }
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_ACLNN_OUT_OF_MEMORY_H_
