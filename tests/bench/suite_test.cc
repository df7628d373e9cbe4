// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>

namespace ropekv::bench {
namespace {

std::span<const int32_t> IndicesOf(const workload::Case& made) {
  const workload::Buffer& indices = made[TensorId::kIndices];
  return {indices.as<int32_t>(), static_cast<size_t>(indices.size()) / sizeof(int32_t)};
}

// How often a token's slot follows the slot of the token before.
int64_t CountNeighbours(std::span<const int32_t> slots) {
  int64_t count = 0;
  for (size_t t = 1; t < slots.size(); ++t) count += slots[t] == slots[t - 1] + 1;
  return count;
}

// What MakePlan takes, by dtypes and numerics, is what is measured.
TEST(Suite, HasEveryKernel) {
  const auto kind = [](DType x, DType dtype, Numerics numerics) {
    return std::string(Name(x)) + " to " + Name(dtype) +
           (numerics == Numerics::kAscend ? ", ascend" : "");
  };
  std::set<std::string> measured, legal;
  for (const Variant& variant : Variants()) {
    EXPECT_TRUE(measured.insert(kind(variant.x, variant.dtype, variant.numerics)).second);
  }
  using enum DType;
  for (const DType x : {kI8, kI32, kF16, kBF16, kF32}) {
    for (const DType dtype : {kI8, kI32, kF16, kBF16, kF32}) {
      const Spec spec = DenseSpec({.num_q_heads = 1,
                                   .num_kv_heads = 1,
                                   .head_dim = 64,
                                   .x_dtype = x,
                                   .out_dtype = dtype,
                                   .cache_shape = {1, 1}});
      if (!MakePlan(spec).ok()) continue;
      legal.insert(kind(x, dtype, Numerics::kFloat32));
      // Of bf16 tables the two numerics are one.
      if (dtype == kF16) legal.insert(kind(x, dtype, Numerics::kAscend));
    }
  }
  EXPECT_EQ(measured, legal);
}

TEST(Suite, HasOneModelOfEachShape) {
  const auto shape = [](const workload::Model& model) {
    return std::tuple(model.q_heads, model.kv_heads, model.head_dim);
  };
  std::set<std::tuple<int64_t, int64_t, int64_t>> all, chosen;
  for (const workload::Model& model : workload::Models()) all.insert(shape(model));
  for (const workload::Model& model : DistinctShapes()) {
    EXPECT_TRUE(chosen.insert(shape(model)).second) << model.name;
  }
  EXPECT_EQ(chosen, all);
}

TEST(Suite, MakesLegalCasesOfEveryKind) {
  Point point;
  point.model = *workload::FindModel("Llama-3-70B-TP8");
  for (const Variant& variant : Variants()) {
    for (const Placement placement :
         {Placement::kContiguous, Placement::kShuffledBlocks, Placement::kRandomSlots}) {
      for (const int64_t tokens : {1, 300}) {
        point.variant = variant;
        point.placement = placement;
        point.tokens = tokens;
        const workload::Case made = CaseOf(point);
        const Result<Plan> plan = MakePlan(made.spec);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_EQ(plan->num_tokens(), tokens);
        // No slot twice.
        const Status status = CheckArgs(*plan, made.args());
        EXPECT_TRUE(status.ok()) << status.message();
        const auto slots = IndicesOf(made);
        EXPECT_TRUE(std::all_of(slots.begin(), slots.end(), [](int32_t n) { return n >= 0; }));
      }
    }
  }
}

TEST(Suite, PlacesTokens) {
  Point point;
  point.model = *workload::FindModel("Llama-3-70B-TP8");
  point.tokens = 128 * 20;
  point.placement = Placement::kShuffledBlocks;
  // Within blocks, and by chance between a few of them.
  const int64_t in_blocks = CountNeighbours(IndicesOf(CaseOf(point)));
  EXPECT_GE(in_blocks, 127 * 20);
  EXPECT_LT(in_blocks, 127 * 20 + 8);
  point.placement = Placement::kRandomSlots;
  EXPECT_LT(CountNeighbours(IndicesOf(CaseOf(point))), 20);
}

TEST(Suite, MeasuresAndChecksTheChain) {
  Point point;
  point.model = *workload::FindModel("Llama-3-70B-TP8");
  point.tokens = 3;
  const workload::Case made = CaseOf(point);
  const Measurement m = Measure(point, made, {.runs = 2, .seconds_per_run = 1e-4}, true);
  EXPECT_EQ(m.runs, 2);
  EXPECT_NE(m.target, Target::kBest);
  EXPECT_GT(m.call.min, 0);
  EXPECT_GT(m.floor.min, 0);
  ASSERT_EQ(m.peers.size(), 1u);
  EXPECT_TRUE(m.peers[0].measured());
  EXPECT_EQ(m.peers[0].mismatches, 0);
  EXPECT_GT(m.peers[0].call.min, 0);
}

}  // namespace
}  // namespace ropekv::bench
