// SPDX-License-Identifier: Apache-2.0
// Run in the threads of a caller's OpenMP, as engines have them: one call each, calls that share
// the machine's threads, a call within a critical section, and slices of one call.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "support/problem.h"

namespace ropekv::testing {
namespace {

constexpr int kTeam = 4;

struct Call {
  Call()
      : problem(DenseSpec({.batch = 2000,
                           .num_q_heads = 4,
                           .num_kv_heads = 1,
                           .head_dim = 64,
                           .cache_layout = CacheLayout::kPaged,
                           .cache_shape = {125, 16}}),
                Flavour::kPlain, 1),
        plan(MakePlan(problem.spec()).value()) {
    EXPECT_TRUE(RunReference(plan, problem.expected()).ok());
  }
  bool Run(const RunOptions& options) const {
    return ropekv::Run(plan, problem.actual(), options).ok();
  }

  Problem problem;
  Plan plan;
};

TEST(IsolationOpenMP, CallsOfEachThread) {
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < kTeam; ++i) calls.push_back(std::make_unique<Call>());
  std::atomic<int> refused{0}, threads{0};
#pragma omp parallel num_threads(kTeam)
  {
    threads = omp_get_num_threads();
    const Call& call = *calls[static_cast<size_t>(omp_get_thread_num())];
    for (int i = 0; i < 20; ++i) refused += !call.Run({.num_threads = 1 + i % 4});
  }
  EXPECT_EQ(threads, kTeam);
  EXPECT_EQ(refused, 0);
  for (const auto& call : calls) EXPECT_EQ(call->problem.Compare(), "");
}

TEST(IsolationOpenMP, ACriticalSectionAroundRun) {
  const Call call;
  std::atomic<int> refused{0};
  int inside = 0, most_inside = 0;
#pragma omp parallel for num_threads(kTeam) schedule(dynamic)
  for (int i = 0; i < 60; ++i) {
#pragma omp critical
    {
      most_inside = std::max(most_inside, ++inside);
      refused += !call.Run({.num_threads = 4});
      --inside;
    }
  }
  EXPECT_EQ(most_inside, 1);
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(call.problem.Compare(), "");
}

TEST(IsolationOpenMP, SlicesOfOneCall) {
  Call call;
  const int64_t tokens = call.plan.num_tokens(), slice = 37;
  std::atomic<int> refused{0};
#pragma omp parallel for num_threads(kTeam)
  for (int64_t begin = 0; begin < tokens; begin += slice) {
    const int64_t end = std::min(begin + slice, tokens);
    refused += !call.Run({.num_threads = 1, .token_begin = begin, .token_end = end});
  }
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(call.problem.Compare(), "");
}

}  // namespace
}  // namespace ropekv::testing
