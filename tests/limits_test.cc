// SPDX-License-Identifier: Apache-2.0
// The edges of what is legal: no tokens, no heads, no cache blocks, strides of any size that lead
// nowhere, rows longer than memory.
#include <gtest/gtest.h>

#include "support/problem.h"
#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

constexpr auto kContiguous = CacheLayout::kContiguous;
constexpr auto kPaged = CacheLayout::kPaged;

// SimpleShape with other numbers of sequences, tokens and heads, and its cache with other rows.
Spec Sized(CacheLayout layout, int64_t batch, int64_t seq, int64_t q_heads, int64_t kv_heads,
           int64_t cache_rows) {
  Shape shape = SimpleShape(layout);
  shape.batch = batch;
  shape.seq_len = seq;
  shape.num_q_heads = q_heads;
  shape.num_kv_heads = kv_heads;
  shape.cache_shape = {cache_rows, 8};
  return DenseSpec(shape);
}

// Gives every stride that leads to no element the largest value there is. Their number.
int Derange(Spec& spec) {
  int changed = 0;
  for (const TensorField& field : kTensorFields) {
    TensorSpec& tensor = spec.*field.spec;
    bool empty = false;
    for (int i = 0; i < tensor.rank; ++i) empty = empty || tensor.shape[i] == 0;
    for (int i = 0; i < tensor.rank; ++i) {
      if (!empty && tensor.shape[i] != 1) continue;
      tensor.stride[i] = INT64_MAX;
      ++changed;
    }
  }
  return changed;
}

// Without some kind of heads the other kind is still made, and nothing is made of none.
TEST(Limits, NoHeads) {
  const struct { int64_t q_heads, kv_heads; } kHeads[] = {{0, 2}, {2, 0}, {0, 0}};
  for (const CacheLayout layout : {kContiguous, kPaged}) {
    for (const auto& [q_heads, kv_heads] : kHeads) {
      for (const Target target : UsableTargets()) {
        SCOPED_TRACE(::testing::Message() << q_heads << " " << kv_heads << " " << Name(target));
        Spec spec = Sized(layout, 2, 3, q_heads, kv_heads, 2);
        spec.target = target;
        EXPECT_GT(Derange(spec), 0);
        const Result<Plan> plan = MakePlan(spec);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        Problem problem(spec, Flavour::kPlain, 1);
        Coverage coverage;
        ASSERT_EQ(RunAndCompare(problem, *plan, {.num_threads = 2}, &coverage), "");
        EXPECT_EQ(coverage.changed_bytes > 0, q_heads + kv_heads > 0);
      }
    }
  }
}

// Strides of dimensions of 1 are as free as those of empty tensors.
TEST(Limits, IdleStrides) {
  for (const CacheLayout layout : {kContiguous, kPaged}) {
    for (const auto& [batch, seq] : {std::pair(1, 5), std::pair(5, 1), std::pair(1, 1)}) {
      Spec spec = Sized(layout, batch, seq, 1, 1, 5);
      EXPECT_GT(Derange(spec), 0);
      const Result<Plan> plan = MakePlan(spec);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      Problem problem(spec, Flavour::kPlain, 1);
      Coverage coverage;
      ASSERT_EQ(RunAndCompare(problem, *plan, {}, &coverage), "");
      EXPECT_GT(coverage.changed_bytes, 0);
    }
  }
}

// So are those of tensors that are absent: nothing may be made of them, which a sanitizer sees.
TEST(Limits, StridesOfAbsentTensors) {
  for (const CacheLayout layout : {kContiguous, kPaged}) {
    Spec spec = Sized(layout, 2, 3, 1, 1, 6);
    for (TensorSpec* tensor : {&spec.activation_scale, &spec.offset_k, &spec.offset_v}) {
      tensor->dtype = DType::kNone;
      tensor->rank = 1;
      tensor->stride[0] = INT64_MAX;
    }
    const Result<Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    Problem problem(spec, Flavour::kPlain, 1);
    Coverage coverage;
    ASSERT_EQ(RunAndCompare(problem, *plan, {}, &coverage), "");
    EXPECT_GT(coverage.changed_bytes, 0);
  }
}

TEST(Limits, NoTokens) {
  for (const CacheLayout layout : {kContiguous, kPaged}) {
    for (const auto& [batch, seq] : {std::pair(0, 3), std::pair(2, 0), std::pair(0, 0)}) {
      Spec spec = Sized(layout, batch, seq, 2, 1, 2);
      Derange(spec);
      const Result<Plan> plan = MakePlan(spec);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      EXPECT_EQ(plan->num_tokens(), 0);
      Problem problem(spec, Flavour::kPlain, 1);
      // What has no elements needs no address.
      Args args = problem.actual();
      args.x = args.cos = args.sin = args.activation_scale = nullptr;
      args.q = args.k = args.v = nullptr;
      if (layout == kPaged || batch == 0) args.indices = nullptr;
      for (const int threads : {0, 1, 4}) {
        const Status status = ropekv::Run(*plan, args, {.num_threads = threads});
        EXPECT_TRUE(status.ok()) << status.message();
      }
      EXPECT_EQ(problem.CompareUntouched(), "");
    }
  }
}

// Of a table without rows, too, and of one whose rows nobody asks for.
TEST(Limits, NoTokensAndATable) {
  for (const int64_t rows : {0, 9}) {
    Shape shape = SimpleShape(kPaged);
    shape.batch = 0;
    shape.num_positions = 9;
    Spec spec = DenseSpec(shape);
    spec.cos = spec.sin = Dense(DType::kF16, {rows, 16});
    for (const bool folded : {false, true}) {
      if (folded) spec.positions = Dense(DType::kI32, {0, 3});
      const Result<Plan> plan = MakePlan(spec);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      Problem problem(spec, Flavour::kPlain, 1);
      Args args = problem.actual();
      args.positions = nullptr;
      if (rows == 0) args.cos = args.sin = nullptr;
      for (const auto& call : {&ropekv::Run, &RunReference, &CheckArgs}) {
        const Status status = call(*plan, args, {});
        EXPECT_TRUE(status.ok()) << status.message();
      }
      EXPECT_EQ(problem.CompareUntouched(), "");
    }
  }
}

// With a stride of 0 a table may have more rows than 32 bits can count.
TEST(Limits, ATableOfManyRows) {
  constexpr int64_t kRows = int64_t{1} << 50;
  Shape shape = SimpleShape(kPaged);
  shape.index_dtype = DType::kI64;
  shape.num_positions = 9;
  Problem problem(DenseSpec(shape), Flavour::kPlain, 1);
  auto* positions = static_cast<int64_t*>(problem.MutableInput(TensorId::kPositions));
  for (int i = 0; i < 6; ++i) positions[i] = i % 2 ? kRows - 1 : i;
  Spec spec = problem.spec();
  for (TensorSpec* table : {&spec.cos, &spec.sin}) {
    table->shape[0] = kRows;
    table->stride[0] = 0;
  }
  for (const Target target : UsableTargets()) {
    spec.target = target;
    const Result<Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    Coverage coverage;
    ASSERT_EQ(RunAndCompare(problem, *plan, {}, &coverage), "");
    EXPECT_GT(coverage.changed_bytes, 0);
  }
  positions[4] = kRows;
  EXPECT_EQ(CheckArgs(MakePlan(spec).value(), problem.actual()).message(),
            "positions: has 1125899906842624 for token 4; must be in [0, 1125899906842623]");
}

// A cache without blocks has no slots: only padding is legal.
TEST(Limits, NoCacheBlocks) {
  const Spec spec = Sized(kPaged, 1, 2, 1, 1, 0);
  Problem problem(spec, Flavour::kPlain, 1);
  auto* slots = static_cast<int32_t*>(problem.MutableInput(TensorId::kIndices));
  slots[0] = -1;
  slots[1] = 0;
  const Plan plan = MakePlan(spec).value();
  EXPECT_EQ(ropekv::Run(plan, problem.actual()).message(),
            "indices: has slot 0 for token 1; must be negative (padding)");
  EXPECT_EQ(problem.CompareUntouched(), "");
  slots[1] = -2;
  Coverage coverage;
  EXPECT_EQ(RunAndCompare(problem, plan, {}, &coverage), "");
  EXPECT_GT(coverage.changed_bytes, 0);
}

// With strides of 0 a row may have more elements than there is memory; planning must not overflow.
TEST(Limits, RowsLongerThanMemory) {
  constexpr int64_t kHuge = int64_t{1} << 60;
  for (const int64_t tokens : {0, 1}) {
    for (const int64_t rotary_dim : {int64_t{0}, int64_t{2}, kHuge - 2}) {
      for (const bool table : {false, true}) {
        Spec spec = DenseSpec({.batch = tokens,
                               .num_kv_heads = 1,
                               .head_dim = kHuge,
                               .cache_layout = kPaged,
                               .cache_shape = {0, 1},
                               .num_positions = table ? 2 : 0,
                               .rotary_dim = rotary_dim,
                               .half_width_angles = table});
        for (TensorSpec* tensor : {&spec.x, &spec.cos, &spec.sin, &spec.scale_k, &spec.scale_v}) {
          tensor->stride = {};
        }
        const Result<Plan> plan = MakePlan(spec);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_EQ(plan->num_tokens(), tokens);
      }
    }
  }
}

// Copies of weights with strides of 0 may be longer than memory, one by one or all together.
TEST(Limits, BoundWeightsLongerThanMemory) {
  for (const int log2_elements : {59, 60, 61}) {
    for (const int64_t head_dim : {2, 64}) {
      const int64_t heads = (int64_t{1} << log2_elements) / head_dim;
      Spec spec = DenseSpec({.batch = 0,
                             .num_kv_heads = heads,
                             .head_dim = head_dim,
                             .cache_layout = kPaged,
                             .cache_shape = {0, 1},
                             .offsets = true});
      for (TensorSpec* tensor : {&spec.scale_k, &spec.scale_v, &spec.offset_k, &spec.offset_v}) {
        tensor->stride = {};
      }
      const Result<Plan> plan = MakePlan(spec);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      const float one = 1;
      const Args args{.scale_k = &one, .scale_v = &one, .offset_k = &one, .offset_v = &one};
      const StatusCode code = BindWeights(*plan, args).status().code();
      EXPECT_EQ(code, log2_elements < 61 ? StatusCode::kOutOfMemory : StatusCode::kBadShape)
          << log2_elements;
      // Nor does anyone count through the heads of no token.
      EXPECT_TRUE(ropekv::Run(*plan, args).ok());
      EXPECT_TRUE(RunReference(*plan, args).ok());
    }
  }
}

// Strides that fit in 63 bits may still lead past the end of memory, or before its beginning.
TEST(Limits, StridesOutOfTheAddressSpace) {
  for (const int64_t stride : {INT64_MAX / 4, -(INT64_MAX / 4)}) {
    Spec spec = SimpleSpec(kPaged);
    spec.cos.stride[0] = stride;
    const Plan plan = MakePlan(spec).value();
    Problem problem(SimpleSpec(kPaged), Flavour::kPlain, 1);
    Args args = problem.actual();
    // The distance is below 2^63, so an address in the farther half of memory is needed.
    args.cos =
        reinterpret_cast<const void*>(stride > 0 ? ~uintptr_t{0} - 0xFFF : uintptr_t{0x1000});
    for (const auto& call : {&ropekv::Run, &RunReference, &CheckArgs}) {
      const Status status = call(plan, args, {});
      EXPECT_EQ(status.code(), StatusCode::kBadPointer);
      EXPECT_EQ(status.message().find("cos: is at 0x"), 0u) << status.message();
      EXPECT_NE(status.message().find("; its strides must not lead out of the address space"),
                std::string::npos)
          << status.message();
    }
    EXPECT_EQ(problem.CompareUntouched(), "");
  }
}

}  // namespace
}  // namespace ropekv::testing
