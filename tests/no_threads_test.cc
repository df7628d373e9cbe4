// SPDX-License-Identifier: Apache-2.0
// Where the system gives no more threads, a call does everything in its own.
#include <gtest/gtest.h>

#include "support/failing_threads.h"
#include "support/problem.h"

namespace ropekv::testing {
namespace {

TEST(NoThreads, RunDoesItAlone) {
  Problem problem(DenseSpec({.batch = 4000,
                             .num_q_heads = 4,
                             .num_kv_heads = 1,
                             .head_dim = 64,
                             .cache_layout = CacheLayout::kPaged,
                             .cache_shape = {250, 16}}),
                  Flavour::kPlain, 1);
  const Plan plan = MakePlan(problem.spec()).value();
  ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
  const NoThreads no_threads;
  for (const int num_threads : {4, 2, 4}) {
    problem.ResetActual();
    const Status status = ropekv::Run(plan, problem.actual(), {.num_threads = num_threads});
    EXPECT_TRUE(status.ok()) << status.message();
    Coverage coverage;
    EXPECT_EQ(problem.Compare(&coverage), "");
    EXPECT_GT(coverage.changed_bytes, 0);
  }
  EXPECT_GT(no_threads.refused(), 0);
}

}  // namespace
}  // namespace ropekv::testing
