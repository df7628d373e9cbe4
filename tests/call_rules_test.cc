// SPDX-License-Identifier: Apache-2.0
// Every rule about a call's data: breaking it names the culprit, and no output byte changes.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "support/problem.h"
#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

constexpr auto kContiguous = CacheLayout::kContiguous;
constexpr auto kPaged = CacheLayout::kPaged;

// Run, CheckArgs and RunReference must agree on refusing, and leave everything as it was.
void ExpectRefused(Problem& problem, const Args& args, const RunOptions& options, StatusCode code,
                   const std::string& message) {
  const Result<Plan> plan = MakePlan(problem.spec());
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  for (const auto& call : {&ropekv::Run, &RunReference, &CheckArgs}) {
    const Status status = call(*plan, args, options);
    EXPECT_EQ(status.code(), code);
    EXPECT_EQ(status.message(), message);
  }
  EXPECT_EQ(problem.CompareUntouched(), "");
}

void ExpectBadIndex(CacheLayout layout, int entry, int32_t value, const std::string& message) {
  Problem problem(SimpleSpec(layout), Flavour::kPlain, 1);
  static_cast<int32_t*>(problem.MutableInput(TensorId::kIndices))[entry] = value;
  ExpectRefused(problem, problem.actual(), {}, StatusCode::kBadIndex, message);
}

TEST(Indices, ContiguousRange) {
  // 8 positions, 3 tokens a row.
  ExpectBadIndex(kContiguous, 0, -1, "indices: has -1 for batch row 0; must be in [0, 5]");
  ExpectBadIndex(kContiguous, 1, 6, "indices: has 6 for batch row 1; must be in [0, 5]");
  ExpectBadIndex(kContiguous, 1, INT32_MIN,
                 "indices: has -2147483648 for batch row 1; must be in [0, 5]");
}

TEST(Indices, PagedRange) {
  ExpectBadIndex(kPaged, 5, 16,
                 "indices: has slot 16 for token 5; must be negative (padding) or in [0, 15]");
  ExpectBadIndex(
      kPaged, 0, INT32_MAX,
      "indices: has slot 2147483647 for token 0; must be negative (padding) or in [0, 15]");
}

TEST(Indices, LegalLimits) {
  for (const CacheLayout layout : {kContiguous, kPaged}) {
    Problem problem(SimpleSpec(layout), Flavour::kPlain, 1);
    auto* indices = static_cast<int32_t*>(problem.MutableInput(TensorId::kIndices));
    indices[0] = 0;
    indices[1] = layout == kPaged ? 15 : 5;
    for (int i = 2; layout == kPaged && i < 6; ++i) indices[i] = -i;
    const Plan plan = MakePlan(problem.spec()).value();
    EXPECT_EQ(RunAndCompare(problem, plan, {}), "");
  }
}

TEST(Indices, DuplicateSlots) {
  Problem problem(SimpleSpec(kPaged), Flavour::kPlain, 1);
  auto* slots = static_cast<int32_t*>(problem.MutableInput(TensorId::kIndices));
  const int32_t values[] = {3, 7, -1, -1, 9, 7};
  std::copy(std::begin(values), std::end(values), slots);
  ExpectRefused(problem, problem.actual(), {}, StatusCode::kBadIndex,
                "indices: has slot 7 for both token 1 and token 5; slots must be distinct");

  // A caller may vouch for the slots instead; a slice sees its own only.
  const Plan plan = MakePlan(problem.spec()).value();
  EXPECT_TRUE(CheckArgs(plan, problem.actual(), {.check_duplicate_slots = false}).ok());
  EXPECT_TRUE(CheckArgs(plan, problem.actual(), {.token_begin = 2}).ok());
}

Status RunSlice(const Plan& plan, const Problem& problem, int64_t begin, int64_t end) {
  return ropekv::Run(plan, problem.actual(), {.token_begin = begin, .token_end = end});
}

// A bad index outside the slice does not concern it.
TEST(Indices, OnlyOfTheSlice) {
  Problem paged(SimpleSpec(kPaged), Flavour::kPlain, 1);
  static_cast<int32_t*>(paged.MutableInput(TensorId::kIndices))[4] = 99;
  const Plan plan = MakePlan(paged.spec()).value();
  EXPECT_TRUE(RunSlice(plan, paged, 0, 4).ok());
  EXPECT_FALSE(RunSlice(plan, paged, 4, 5).ok());

  Problem contiguous(SimpleSpec(kContiguous), Flavour::kPlain, 1);
  static_cast<int32_t*>(contiguous.MutableInput(TensorId::kIndices))[1] = 99;
  const Plan other = MakePlan(contiguous.spec()).value();
  EXPECT_TRUE(RunSlice(other, contiguous, 0, 3).ok());
  EXPECT_FALSE(RunSlice(other, contiguous, 0, 4).ok());
}

TEST(Pointers, NullOfEveryTensor) {
  Problem problem(SimpleSpec(kPaged), Flavour::kPlain, 1);
  for (const TensorField& field : kTensorFields) {
    Args args = problem.actual();
    if (field.output) {
      args.*field.output = nullptr;
    } else {
      args.*field.input = nullptr;
    }
    ExpectRefused(problem, args, {}, StatusCode::kNullPointer,
                  std::string(field.name) + ": is null");
  }
}

TEST(Pointers, MisalignedOfEveryTensor) {
  Problem problem(SimpleSpec(kPaged), Flavour::kPlain, 1);
  int tried = 0;
  for (const TensorField& field : kTensorFields) {
    const int64_t bytes = ElementBytes((problem.spec().*field.spec).dtype);
    if (bytes == 1) continue;
    Args args = problem.actual();
    const char* wrong = static_cast<const char*>(field.address(args)) + 1;
    if (field.output) {
      args.*field.output = const_cast<char*>(wrong);
    } else {
      args.*field.input = wrong;
    }
    const Status status = CheckArgs(MakePlan(problem.spec()).value(), args);
    EXPECT_EQ(status.code(), StatusCode::kBadPointer);
    EXPECT_EQ(status.message().find(std::string(field.name) + ": is at 0x"), 0u)
        << status.message();
    EXPECT_NE(status.message().find("must be a multiple of " + std::to_string(bytes) + " bytes"),
              std::string::npos);
    ++tried;
  }
  EXPECT_EQ(tried, kNumTensors - 2);
}

TEST(Pointers, OutputsOverlap) {
  Problem problem(SimpleSpec(kPaged), Flavour::kPlain, 1);
  int tried = 0;
  for (const TensorField& output : kTensorFields) {
    if (!output.output) continue;
    for (const TensorField& other : kTensorFields) {
      if (other.id == output.id) continue;
      Args args = problem.actual();
      // The last byte of the output meets the first of the other, aligned for both.
      args.*output.output = const_cast<void*>(other.address(args));
      const Status status = CheckArgs(MakePlan(problem.spec()).value(), args);
      EXPECT_EQ(status.code(), StatusCode::kBadPointer) << output.name << " on " << other.name;
      EXPECT_NE(status.message().find("outputs must not overlap inputs or each other"),
                std::string::npos);
      EXPECT_NE(status.message().find(other.name), std::string::npos) << status.message();
      EXPECT_NE(status.message().find(output.name), std::string::npos) << status.message();
      ++tried;
    }
  }
  EXPECT_EQ(tried, 5 * (kNumTensors - 1));
}

TEST(Options, Refused) {
  Problem problem(SimpleSpec(kPaged), Flavour::kPlain, 1);
  const Args args = problem.actual();
  ExpectRefused(problem, args, {.num_threads = -1}, StatusCode::kBadOption,
                "num_threads: is -1; must be >= 0");
  const std::string tail = "; must be a range within the plan's 6 tokens";
  ExpectRefused(problem, args, {.token_begin = -1}, StatusCode::kBadOption,
                "token_begin, token_end: are -1, 6" + tail);
  ExpectRefused(problem, args, {.token_begin = 4, .token_end = 3}, StatusCode::kBadOption,
                "token_begin, token_end: are 4, 3" + tail);
  ExpectRefused(problem, args, {.token_begin = 0, .token_end = 7}, StatusCode::kBadOption,
                "token_begin, token_end: are 0, 7" + tail);
}

}  // namespace
}  // namespace ropekv::testing
