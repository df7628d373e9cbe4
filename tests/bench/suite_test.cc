// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace ropekv::bench {
namespace {

std::vector<int64_t> IndicesOf(const workload::Case& made) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < made.spec.indices.shape[0]; ++i) {
    indices.push_back(workload::IndexAt(made, TensorId::kIndices, i));
  }
  return indices;
}

// How often a token's slot follows the slot of the token before.
int64_t CountNeighbours(const std::vector<int64_t>& slots) {
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
    return std::tuple(model.q_heads, model.kv_heads, model.head_dim, model.rotary_dim(),
                      model.rotation.style);
  };
  std::set<decltype(shape(workload::Models().front()))> all, chosen;
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
        EXPECT_TRUE(std::all_of(slots.begin(), slots.end(), [](int64_t n) { return n >= 0; }));
      }
    }
  }
}

// Each feature alone and all together, in every order of the caches.
TEST(Suite, MakesLegalCasesOfEveryFeature) {
  const std::function<void(Point&)> features[] = {
      [](Point& p) { p.model.rotation = workload::Rotation::First(64); },
      [](Point& p) { p.model.rotation.style = RotaryStyle::kInterleaved; },
      [](Point& p) { p.angles = DType::kF32; },
      [](Point& p) { p.positions = true; },
      [](Point& p) { p.packed = true; },
      [](Point& p) { p.half_width = true; },
      [](Point& p) { p.index_dtype = DType::kI64; },
      [](Point& p) { p.scales = workload::Scales::kHead; },
      [](Point& p) { p.layout.caches = CacheOrder::kHeads; },
      [](Point& p) { p.layout.caches = CacheOrder::kBlocks; },
      [](Point& p) { p.layout.sliced = true; },
      [](Point& p) {
        p.cache_dtype = DType::kF16;
        p.scales = workload::Scales::kChannel;
      },
  };
  Point all;
  all.model = *workload::FindModel("Llama-3-70B-TP8");
  all.tokens = 200;
  all.kv_output = true;
  const auto check = [](const Point& point) {
    const workload::Case made = CaseOf(point);
    const Result<Plan> plan = MakePlan(made.spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    const Status status = ropekv::Run(*plan, made.args());
    EXPECT_TRUE(status.ok()) << status.message();
  };
  EXPECT_EQ(FeaturesOf(all), std::vector<std::string>());
  EXPECT_EQ(BeyondPeers(all), "");
  for (size_t i = 0; i < std::size(features); ++i) {
    SCOPED_TRACE(i);
    Point alone = all;
    features[i](alone);
    EXPECT_EQ(FeaturesOf(alone).size(), 1u);
    check(alone);
  }
  for (const auto& feature : features) {
    feature(all);
    check(all);
  }
  EXPECT_EQ(FeaturesOf(all).size(), 10u);
}

TEST(Suite, SlicesAndBlocksShareTheirMemory) {
  Point point;
  point.model = *workload::FindModel("Llama-3-70B-TP8");
  point.tokens = 3;
  point.kv_output = true;
  point.layout = {CacheOrder::kBlocks, true};
  const workload::Case made = CaseOf(point);
  const Args args = made.args();
  const auto distance = [](const void* a, const void* b) {
    return static_cast<const std::byte*>(b) - static_cast<const std::byte*>(a);
  };
  EXPECT_EQ(distance(args.q, args.k), 8 * 128 * 2);
  EXPECT_EQ(distance(args.q, args.v), 9 * 128 * 2);
  EXPECT_EQ(distance(args.k_cache, args.v_cache), 128 * 128);  // a block
  EXPECT_EQ(made.spec.q.stride[1], 1280);
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

TEST(Suite, PlacesPositionsInRuns) {
  Point point;
  point.model = *workload::FindModel("Llama-3-70B-TP8");
  point.tokens = 128 * 20;
  point.positions = true;
  const workload::Case made = CaseOf(point);
  std::vector<int64_t> positions;
  for (int64_t t = 0; t < point.tokens; ++t) {
    positions.push_back(workload::IndexAt(made, TensorId::kPositions, t));
  }
  EXPECT_GE(CountNeighbours(positions), 127 * 20);
  EXPECT_LT(CountNeighbours(positions), 127 * 20 + 8);
}

TEST(Suite, DoesNotAskTheChainForWhatItDoesNotDo) {
  Point point;
  point.model = *workload::FindModel("GLM-4-9B-Chat");
  point.tokens = 1;
  const Measurement m = Measure(point, CaseOf(point), {.runs = 1, .seconds_per_run = 1e-5}, true);
  ASSERT_EQ(m.peers.size(), 1u);
  EXPECT_FALSE(m.peers[0].measured());
  EXPECT_EQ(m.peers[0].failed, "does not do 64 of 128 rotated, interleaved");
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
