// SPDX-License-Identifier: Apache-2.0
// Each allocation fails once in turn: an error or the whole result, no leak, no byte by halves.
#include <gtest/gtest.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "plan/failure.h"
#include "support/failing_new.h"
#include "support/problem.h"
#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

TEST(OutOfMemory, MakePlan) {
  const Spec spec = SimpleSpec(CacheLayout::kPaged);
  const auto check = [](const Result<Plan>& plan, bool failed) {
    EXPECT_EQ(plan.status().code(), failed ? StatusCode::kOutOfMemory : StatusCode::kOk);
  };
  EXPECT_GT(FailEachAllocation([&] { return MakePlan(spec); }, check), 0);
}

// The messages of errors are what is allocated.
TEST(OutOfMemory, MakePlanOfABadSpec) {
  Spec spec = SimpleSpec(CacheLayout::kPaged);
  spec.scale_v = Dense(DType::kF32, {1, 17});
  const auto check = [](const Result<Plan>& plan, bool failed) {
    EXPECT_EQ(plan.status().code(), failed ? StatusCode::kOutOfMemory : StatusCode::kBadShape);
  };
  EXPECT_GT(FailEachAllocation([&] { return MakePlan(spec); }, check), 0);
}

TEST(OutOfMemory, CallsWithABadIndex) {
  Problem problem(SimpleSpec(CacheLayout::kPaged), Flavour::kPlain, 1);
  auto* indices = static_cast<int32_t*>(problem.MutableInput(TensorId::kIndices));
  const Plan plan = MakePlan(problem.spec()).value();
  const Args args = problem.actual();
  for (const auto& [first, second] : {std::pair(3, 3), std::pair(99, 3)}) {
    indices[0] = first;
    indices[1] = second;
    for (const auto& call : {&ropekv::Run, &RunReference, &CheckArgs}) {
      const auto check = [&](const Status& status, bool failed) {
        EXPECT_EQ(status.code(), failed ? StatusCode::kOutOfMemory : StatusCode::kBadIndex);
        EXPECT_EQ(problem.CompareUntouched(), "");
      };
      EXPECT_GT(FailEachAllocation([&] { return call(plan, args, {}); }, check), 0);
    }
  }
}

// In threads too, and however many tokens the search for duplicates has.
TEST(OutOfMemory, RunAllocatesNothing) {
  std::vector<Spec> specs = {SimpleSpec(CacheLayout::kContiguous), SimpleSpec(CacheLayout::kPaged)};
  for (const int64_t tokens : {1, 64, 5000, 20000}) {
    Shape shape = SimpleShape(CacheLayout::kPaged);
    shape.batch = tokens;
    shape.seq_len = 1;
    shape.cache_shape = {tokens, 1};
    specs.push_back(DenseSpec(shape));
  }
  for (const Spec& spec : specs) {
    Problem problem(spec, Flavour::kPlain, 1);
    const Plan plan = MakePlan(problem.spec()).value();
    ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
    const Args args = problem.actual();
    for (const int num_threads : {1, 2}) {
      const auto run = [&] { return ropekv::Run(plan, args, {.num_threads = num_threads}); };
      EXPECT_TRUE(run().ok());
      const auto check = [&](const Status& status, bool) {
        EXPECT_TRUE(status.ok());
        EXPECT_EQ(problem.Compare(), "");
        problem.ResetActual();
      };
      EXPECT_EQ(FailEachAllocation(run, check), 0);
    }
  }
}

// All of its memory is taken before the first byte is written.
TEST(OutOfMemory, RunReference) {
  for (const CacheLayout layout : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
    Problem problem(SimpleSpec(layout), Flavour::kPlain, 1);
    const Plan plan = MakePlan(problem.spec()).value();
    ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
    const Args args = problem.actual();
    const auto check = [&](const Status& status, bool failed) {
      EXPECT_EQ(status.code(), failed ? StatusCode::kOutOfMemory : StatusCode::kOk);
      EXPECT_EQ(failed ? problem.CompareUntouched() : problem.Compare(), "");
    };
    EXPECT_GT(FailEachAllocation([&] { return RunReference(plan, args); }, check), 0);
  }
}

TEST(OutOfMemory, BindWeights) {
  Problem problem(SimpleSpec(CacheLayout::kPaged), Flavour::kPlain, 1);
  const Plan plan = MakePlan(problem.spec()).value();
  ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
  const Args args = problem.actual();
  const auto check = [&](const Result<Plan>& bound, bool failed) {
    EXPECT_EQ(bound.status().code(), failed ? StatusCode::kOutOfMemory : StatusCode::kOk);
    if (failed) return;
    EXPECT_TRUE(ropekv::Run(*bound, args).ok());
    EXPECT_EQ(problem.Compare(), "");
  };
  EXPECT_GT(FailEachAllocation([&] { return BindWeights(plan, args); }, check), 0);
}

// What is caught is told without memory.
TEST(OutOfMemory, ExceptionsBecomeStatuses) {
  const auto status_of = [](const auto& exception) {
    try {
      throw exception;
    } catch (...) {
      FailAllocation(1);
      const Status status = internal::StatusOfException();
      EXPECT_FALSE(StopFailing());
      EXPECT_FALSE(status.message().empty());
      return status.code();
    }
  };
  EXPECT_EQ(status_of(std::bad_alloc()), StatusCode::kOutOfMemory);
  EXPECT_EQ(status_of(std::length_error("")), StatusCode::kOutOfMemory);
  EXPECT_EQ(status_of(std::runtime_error("")), StatusCode::kInternal);
  EXPECT_EQ(status_of(1), StatusCode::kInternal);
}

}  // namespace
}  // namespace ropekv::testing
