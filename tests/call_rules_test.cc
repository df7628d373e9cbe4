// SPDX-License-Identifier: Apache-2.0
// Every rule about a call's pointers and options: breaking it names the culprit, and no output byte
// changes.
#include <gtest/gtest.h>

#include <string>

#include "support/refusal.h"
#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

constexpr auto kPaged = CacheLayout::kPaged;

TEST(Pointers, NullOfEveryTensor) {
  Problem problem(TableSpec(kPaged), Flavour::kPlain, 1);
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
  Problem problem(TableSpec(kPaged), Flavour::kPlain, 1);
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
  Problem problem(TableSpec(kPaged), Flavour::kPlain, 1);
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
  Problem problem(TableSpec(kPaged), Flavour::kPlain, 1);
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
