// SPDX-License-Identifier: Apache-2.0
// Every rule about the entries of `indices` and `positions`, of both dtypes and in any shape:
// breaking it names the culprit, and no output byte changes.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <tuple>

#include "support/refusal.h"
#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

constexpr auto kContiguous = CacheLayout::kContiguous;
constexpr auto kPaged = CacheLayout::kPaged;
constexpr int64_t kBeyond32 = int64_t{1} << 32;  // 0 in its lower 32 bits

// How a tensor of integers lies in memory.
enum class Form { kFlat, kBackwards, kColumns };

// The entries of `indices` or `positions` of a problem, in row-major order.
class Entries {
 public:
  Entries(Problem& problem, TensorId id)
      : tensor_(problem.spec().*kTensorFields[static_cast<size_t>(id)].spec),
        data_(static_cast<char*>(problem.MutableInput(id))) {}

  void Set(int64_t n, int64_t value) {
    const int64_t columns = tensor_.rank == 2 ? tensor_.shape[1] : 1;
    const int64_t element =
        n / columns * tensor_.stride[0] + (tensor_.rank == 2 ? n % columns * tensor_.stride[1] : 0);
    const auto narrow = static_cast<int32_t>(value);
    if (tensor_.dtype == DType::kI64) {
      std::memcpy(data_ + element * 8, &value, 8);
    } else {
      std::memcpy(data_ + element * 4, &narrow, 4);
    }
  }
  void Set(std::initializer_list<int64_t> values) {
    int64_t n = 0;
    for (const int64_t value : values) Set(n++, value);
  }

 private:
  TensorSpec tensor_;
  char* data_;
};

// A call with a table of 9 rows, whose indices and positions have this dtype and form.
Spec SpecOf(CacheLayout layout, DType dtype, Form form) {
  Spec spec = TableSpec(layout);
  for (TensorSpec* tensor : {&spec.indices, &spec.positions}) {
    const int64_t count = tensor->shape[0];
    switch (form) {
      case Form::kFlat: *tensor = Dense(dtype, {count}); break;
      case Form::kBackwards:
        *tensor = Dense(dtype, {count});
        tensor->stride[0] = -2;
        break;
      case Form::kColumns:  // as if transposed
        *tensor = Dense(dtype, {count / 2, 2});
        tensor->stride = {1, count / 2};
        break;
    }
  }
  return spec;
}

class Integers : public ::testing::TestWithParam<std::tuple<DType, Form>> {
 protected:
  static bool Is64() { return std::get<DType>(GetParam()) == DType::kI64; }

  static Problem Make(CacheLayout layout) {
    const auto& [dtype, form] = GetParam();
    return Problem(SpecOf(layout, dtype, form), Flavour::kPlain, 1);
  }
  static void ExpectBad(CacheLayout layout, TensorId id, int64_t entry, int64_t value,
                        const std::string& message) {
    Problem problem = Make(layout);
    Entries(problem, id).Set(entry, value);
    ExpectRefused(problem, problem.actual(), {}, StatusCode::kBadIndex, message);
  }
};

TEST_P(Integers, ContiguousRange) {
  // 8 positions, 3 tokens a row.
  ExpectBad(kContiguous, TensorId::kIndices, 0, -1,
            "indices: has -1 for batch row 0; must be in [0, 5]");
  ExpectBad(kContiguous, TensorId::kIndices, 1, 6,
            "indices: has 6 for batch row 1; must be in [0, 5]");
  ExpectBad(kContiguous, TensorId::kIndices, 1, INT32_MIN,
            "indices: has -2147483648 for batch row 1; must be in [0, 5]");
  if (!Is64()) return;
  ExpectBad(kContiguous, TensorId::kIndices, 0, kBeyond32,
            "indices: has 4294967296 for batch row 0; must be in [0, 5]");
  ExpectBad(kContiguous, TensorId::kIndices, 1, -kBeyond32,
            "indices: has -4294967296 for batch row 1; must be in [0, 5]");
}

TEST_P(Integers, PagedRange) {
  const std::string tail = "; must be negative (padding) or in [0, 15]";
  ExpectBad(kPaged, TensorId::kIndices, 5, 16, "indices: has slot 16 for token 5" + tail);
  ExpectBad(kPaged, TensorId::kIndices, 0, INT32_MAX,
            "indices: has slot 2147483647 for token 0" + tail);
  if (!Is64()) return;
  ExpectBad(kPaged, TensorId::kIndices, 3, kBeyond32,
            "indices: has slot 4294967296 for token 3" + tail);
  ExpectBad(kPaged, TensorId::kIndices, 1, INT64_MAX,
            "indices: has slot 9223372036854775807 for token 1" + tail);
}

TEST_P(Integers, PositionsRange) {
  for (const CacheLayout layout : {kContiguous, kPaged}) {
    ExpectBad(layout, TensorId::kPositions, 0, 9,
              "positions: has 9 for token 0; must be in [0, 8]");
    ExpectBad(layout, TensorId::kPositions, 5, -1,
              "positions: has -1 for token 5; must be in [0, 8]");
    ExpectBad(layout, TensorId::kPositions, 2, INT32_MIN,
              "positions: has -2147483648 for token 2; must be in [0, 8]");
    if (!Is64()) continue;
    ExpectBad(layout, TensorId::kPositions, 1, kBeyond32 + 3,
              "positions: has 4294967299 for token 1; must be in [0, 8]");
    ExpectBad(layout, TensorId::kPositions, 4, INT64_MIN,
              "positions: has -9223372036854775808 for token 4; must be in [0, 8]");
  }
}

TEST_P(Integers, LegalLimits) {
  for (const CacheLayout layout : {kContiguous, kPaged}) {
    Problem problem = Make(layout);
    Entries(problem, TensorId::kPositions).Set({0, 8, 8, 0, 4, 8});
    Entries indices(problem, TensorId::kIndices);
    indices.Set({0, layout == kPaged ? 15 : 5});
    if (layout == kPaged) {
      indices.Set(2, -1);
      indices.Set(3, INT32_MIN);
      indices.Set(4, Is64() ? INT64_MIN : -2);
      indices.Set(5, Is64() ? 1 - kBeyond32 : -3);  // 1 in its lower 32 bits
    }
    const Plan plan = MakePlan(problem.spec()).value();
    Coverage coverage;
    EXPECT_EQ(RunAndCompare(problem, plan, {}, &coverage), "");
    EXPECT_GT(coverage.changed_bytes, 0);
  }
}

TEST_P(Integers, DuplicateSlots) {
  Problem problem = Make(kPaged);
  Entries(problem, TensorId::kIndices).Set({3, 7, -1, -1, 9, 7});
  ExpectRefused(problem, problem.actual(), {}, StatusCode::kBadIndex,
                "indices: has slot 7 for both token 1 and token 5; slots must be distinct");

  // A caller may vouch for the slots instead; a slice sees its own only.
  const Plan plan = MakePlan(problem.spec()).value();
  EXPECT_TRUE(CheckArgs(plan, problem.actual(), {.check_duplicate_slots = false}).ok());
  EXPECT_TRUE(CheckArgs(plan, problem.actual(), {.token_begin = 2}).ok());
}

// A bad index or position outside the slice does not concern it.
TEST_P(Integers, OnlyOfTheSlice) {
  const auto run = [](const Problem& problem, int64_t begin, int64_t end) {
    const Plan plan = MakePlan(problem.spec()).value();
    return ropekv::Run(plan, problem.actual(), {.token_begin = begin, .token_end = end}).ok();
  };
  Problem paged = Make(kPaged);
  Entries(paged, TensorId::kIndices).Set(4, 99);
  EXPECT_TRUE(run(paged, 0, 4));
  EXPECT_FALSE(run(paged, 4, 5));
  EXPECT_TRUE(run(paged, 5, 6));

  Problem contiguous = Make(kContiguous);
  Entries(contiguous, TensorId::kIndices).Set(1, 99);
  EXPECT_TRUE(run(contiguous, 0, 3));
  EXPECT_FALSE(run(contiguous, 0, 4));

  for (const CacheLayout layout : {kContiguous, kPaged}) {
    Problem problem = Make(layout);
    Entries(problem, TensorId::kPositions).Set(3, 9);
    EXPECT_TRUE(run(problem, 0, 3));
    EXPECT_FALSE(run(problem, 2, 4));
    EXPECT_TRUE(run(problem, 4, 6));
  }
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<DType, Form>>& info) {
  const auto& [dtype, form] = info.param;
  const char* const forms[] = {"flat", "backwards", "columns"};
  return std::string(Name(dtype)) + "_" + forms[static_cast<int>(form)];
}

INSTANTIATE_TEST_SUITE_P(All, Integers,
                         ::testing::Combine(::testing::Values(DType::kI32, DType::kI64),
                                            ::testing::Values(Form::kFlat, Form::kBackwards,
                                                              Form::kColumns)),
                         NameOf);

// A table without rows has none for a token.
TEST(Positions, OfAnEmptyTable) {
  Spec spec = TableSpec(kPaged);
  spec.cos = spec.sin = Dense(DType::kF16, {0, 16});
  Problem problem(TableSpec(kPaged), Flavour::kPlain, 1);
  const Args args = problem.actual();
  const Result<Plan> plan = MakePlan(spec);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  for (const auto& call : {&ropekv::Run, &RunReference, &CheckArgs}) {
    const Status status = call(*plan, args, {});
    EXPECT_EQ(status.code(), StatusCode::kBadIndex);
    EXPECT_EQ(status.message().find("positions: has "), 0u) << status.message();
    EXPECT_NE(status.message().find(" for token 0; "), std::string::npos) << status.message();
  }
  EXPECT_EQ(problem.CompareUntouched(), "");
}

}  // namespace
}  // namespace ropekv::testing
