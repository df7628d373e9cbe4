// SPDX-License-Identifier: Apache-2.0
// Where the system gives no more threads, what needs one of its own fails with a message and
// succeeds later; the operator runs without.
#include <optional>

#include "aclnn/fixture.h"
#include "support/failing_threads.h"

namespace ropekv::testing {
namespace {

class NoThreadsTest : public AclTest {};

// A stream has a thread from its first task on that cannot run in the caller.
TEST_F(NoThreadsTest, QueuedTasks) {
  std::atomic<int> done{0};
  const auto launch = [&] {
    return aclrtLaunchHostFunc(
        stream_, [](void* count) { ++*static_cast<std::atomic<int>*>(count); }, &done);
  };
  std::optional<NoThreads> no_threads;
  no_threads.emplace();
  for (int i = 1; i <= 2; ++i) {
    ExpectFailure(launch(), 500000, "aclrtLaunchHostFunc");
    EXPECT_EQ(no_threads->refused(), i);
    EXPECT_EQ(aclrtSynchronizeStream(stream_), 0) << TakeMessage();
  }
  no_threads.reset();
  EXPECT_EQ(launch(), 0) << TakeMessage();
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(done, 1);
}

TEST_F(NoThreadsTest, TheOperator) {
  Case test(1, PagedSpec(64));
  const NoThreads no_threads;
  EXPECT_EQ(test.call.Run(stream_), 0) << TakeMessage();
  EXPECT_EQ(test.problem.Compare(), "");
}

}  // namespace
}  // namespace ropekv::testing
