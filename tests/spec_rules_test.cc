// SPDX-License-Identifier: Apache-2.0
// Every rule about a Spec but those on dtypes: breaking it gives the code, names the culprit, and
// says what is legal.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <string>

#include "support/spec_rule.h"

namespace ropekv::testing {
namespace {

constexpr auto kContiguous = CacheLayout::kContiguous;
constexpr auto kPaged = CacheLayout::kPaged;

Rule Splits(const char* name, std::array<int64_t, 3> splits, const char* message) {
  return {name, kPaged, [=](Spec& s) { s.size_splits = splits; }, StatusCode::kBadShape, message};
}

// One tensor of another shape.
Rule Reshaped(const char* name, TensorSpec Spec::*tensor, const TensorSpec& to,
              const char* message) {
  return {name, kPaged, [=](Spec& s) { s.*tensor = to; }, StatusCode::kBadShape, message};
}

const Rule kRules[] = {
    // Presence.
    {"NoX", kPaged, [](Spec& s) { s.x = {}; }, StatusCode::kNullPointer,
     "x: is required but absent"},
    {"NoIndices", kPaged, [](Spec& s) { s.indices = {}; }, StatusCode::kNullPointer,
     "indices: is required but absent"},
    {"NoQ", kPaged, [](Spec& s) { s.q = {}; }, StatusCode::kNullPointer,
     "q: is required but absent"},
    {"NoWeightScale", kPaged, [](Spec& s) { s.weight_scale = {}; }, StatusCode::kNullPointer,
     "weight_scale: is required for i32 x but absent"},
    {"NoScale", kPaged, [](Spec& s) { s.scale_v = {}; }, StatusCode::kNullPointer,
     "scale_v: is required for i8 caches but absent"},
    {"NoK", kPaged, [](Spec& s) { s.k = {}; }, StatusCode::kNullPointer,
     "k: is required by kv_output but absent"},
    // Shapes.
    Reshaped("XRank", &Spec::x, Dense(DType::kI32, {384}),
             "x: has shape [384]; must be [B, S, H] or [B, H]"),
    Reshaped("TooManyDimensions", &Spec::x, Dense(DType::kI32, {1, 1, 2, 3, 64}),
             "x: has 5 dimensions; at most 4 are possible"),
    {"NegativeRank", kPaged, [](Spec& s) { s.bias.rank = -1; }, StatusCode::kBadShape,
     "bias: has -1 dimensions; at most 4 are possible"},
    {"NegativeExtent", kPaged, [](Spec& s) { s.x.shape[0] = -2; }, StatusCode::kBadShape,
     "x: has shape [-2, 3, 64] and strides [192, 64, 1]; extents must be >= 0 and all offsets fit "
     "in 63 bits"},
    {"HugeStride", kPaged, [](Spec& s) { s.cos.stride[0] = INT64_MAX; }, StatusCode::kBadShape,
     "cos: has shape [2, 3, 1, 16] and strides [9223372036854775807, 16, 16, 1]; extents must be "
     ">= 0 and all offsets fit in 63 bits"},
    {"LowestStride", kPaged, [](Spec& s) { s.cos.stride[0] = INT64_MIN / 2; },
     StatusCode::kBadShape,
     "cos: has shape [2, 3, 1, 16] and strides [-4611686018427387904, 16, 16, 1]; extents must be "
     ">= 0 and all offsets fit in 63 bits"},
    Reshaped("CacheRank", &Spec::k_cache, Dense(DType::kI8, {16, 1, 16}),
             "k_cache: has shape [16, 1, 16]; must be 4-D [C1, C2, num_kv_heads, head_dim]"),
    {"OddHeadDim", kPaged, [](Spec& s) { s.k_cache.shape[3] = 15; }, StatusCode::kBadShape,
     "k_cache: has head_dim 15; must be even and >= 2"},
    {"ZeroHeadDim", kPaged, [](Spec& s) { s.k_cache.shape[3] = 0; }, StatusCode::kBadShape,
     "k_cache: has head_dim 0; must be even and >= 2"},
    Splits("SplitsKV", {16, 16, 32},
           "size_splits: is [16, 16, 32]; the k and v parts must be equal"),
    Splits("SplitsKWithoutV", {48, 16, 0},
           "size_splits: is [48, 16, 0]; the k and v parts must be equal"),
    Splits("SplitsNegative", {-16, 16, 16}, "size_splits: is [-16, 16, 16]; entries must be >= 0"),
    Splits("SplitsCache", {0, 32, 32},
           "size_splits: is [0, 32, 32]; the k part must be num_kv_heads * head_dim of k_cache = 1 "
           "* 16"),
    Reshaped("CacheOfMoreHeads", &Spec::k_cache, Dense(DType::kI8, {4, 4, 2, 16}),
             "size_splits: is [32, 16, 16]; the k part must be num_kv_heads * head_dim of k_cache "
             "= 2 * 16"),
    Splits("SplitsQ", {30, 16, 16},
           "size_splits: is [30, 16, 16]; the q part must be a multiple of head_dim 16"),
    Splits("SplitsSum", {48, 16, 16},
           "size_splits: is [48, 16, 16]; the parts must sum to x's last dimension 64"),
    Splits("SplitsOfLessThanX", {16, 16, 16},
           "size_splits: is [16, 16, 16]; the parts must sum to x's last dimension 64"),
    Reshaped("CosShape", &Spec::cos, Dense(DType::kF16, {6, 16}),
             "cos: has shape [6, 16]; must be [B, S, 1, R] or [B, S, 1, R / 2] = [2, 3, 1, 16] or "
             "[2, 3, 1, 8]"),
    {"SinShape", kPaged, [](Spec& s) { s.sin.shape[3] = 8; }, StatusCode::kBadShape,
     "sin: has shape [2, 3, 1, 8]; must be the shape of cos = [2, 3, 1, 16]"},
    {"QShape", kPaged, [](Spec& s) { s.q.shape[2] = 1; }, StatusCode::kBadShape,
     "q: has shape [2, 3, 1, 16]; must be [B, S, Nq, D] = [2, 3, 2, 16]"},
    {"KShape", kPaged, [](Spec& s) { s.k.shape[1] = 4; }, StatusCode::kBadShape,
     "k: has shape [2, 4, 1, 16]; must be [B, S, Nkv, D] = [2, 3, 1, 16]"},
    {"PartOfCos", kPaged, [](Spec& s) { s.rotary_dim = 8; }, StatusCode::kBadShape,
     "cos: has shape [2, 3, 1, 16]; must be [B, S, 1, R] or [B, S, 1, R / 2] = [2, 3, 1, 8] or "
     "[2, 3, 1, 4]"},
    {"CosOfTwoDimensions", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.seq_len = std::nullopt;
       s = DenseSpec(shape);
       s.cos.shape[1] = 4;
     },
     StatusCode::kBadShape,
     "cos: has shape [2, 4]; must be [B, R] or [B, R / 2] = [2, 16] or [2, 8]"},
    Reshaped("TableShape", &Spec::positions, Dense(DType::kI32, {6}),
             "cos: has shape [2, 3, 1, 16]; must be [P, R] or [P, R / 2] = [2, 16] or [2, 8]"),
    {"TableOfTwoLengths", kPaged,
     [](Spec& s) {
       s.positions = Dense(DType::kI32, {6});
       s.cos = Dense(DType::kF16, {9, 8});
       s.sin = Dense(DType::kF16, {8, 8});
     },
     StatusCode::kBadShape, "sin: has shape [8, 8]; must be the shape of cos = [9, 8]"},
    {"TableOfTwoRanks", kPaged,
     [](Spec& s) {
       s.positions = Dense(DType::kI32, {6});
       s.cos = Dense(DType::kF16, {9, 16});
       s.sin = Dense(DType::kF16, {9, 16, 1});
     },
     StatusCode::kBadShape, "sin: has shape [9, 16, 1]; must be the shape of cos = [9, 16]"},
    {"Positions", kPaged,
     [](Spec& s) {
       s.positions = Dense(DType::kI64, {2, 2});
       s.cos = s.sin = Dense(DType::kF16, {9, 16});
     },
     StatusCode::kBadShape,
     "positions: has shape [2, 2]; must be 1-D or 2-D with B * S = 6 entries"},
    {"PositionsOfThreeDimensions", kPaged,
     [](Spec& s) {
       s.positions = Dense(DType::kI32, {2, 3, 1});
       s.cos = s.sin = Dense(DType::kF16, {9, 16});
     },
     StatusCode::kBadShape,
     "positions: has shape [2, 3, 1]; must be 1-D or 2-D with B * S = 6 entries"},
    {"OddRotaryDim", kPaged, [](Spec& s) { s.rotary_dim = 7; }, StatusCode::kBadShape,
     "rotary_dim: is 7; must be even and from 2 to head_dim 16, or 0 for all of it"},
    {"LongRotaryDim", kPaged, [](Spec& s) { s.rotary_dim = 18; }, StatusCode::kBadShape,
     "rotary_dim: is 18; must be even and from 2 to head_dim 16, or 0 for all of it"},
    {"NegativeRotaryDim", kPaged, [](Spec& s) { s.rotary_dim = -2; }, StatusCode::kBadShape,
     "rotary_dim: is -2; must be even and from 2 to head_dim 16, or 0 for all of it"},
    {"ScaleShape", kPaged, [](Spec& s) { s.scale_k.shape[1] = 8; }, StatusCode::kBadShape,
     "scale_k: has shape [1, 8]; must be [Nkv, D] = [1, 16], [Nkv * D], [Nkv, 1] or [1]"},
    Reshaped("ScaleFlatShape", &Spec::scale_v, Dense(DType::kF32, {15}),
             "scale_v: has shape [15]; must be [Nkv, D] = [1, 16], [Nkv * D], [Nkv, 1] or [1]"),
    Reshaped("ScaleOfOtherHeads", &Spec::offset_k, Dense(DType::kF32, {2, 1}),
             "offset_k: has shape [2, 1]; must be [Nkv, D] = [1, 16], [Nkv * D], [Nkv, 1] or [1]"),
    Reshaped(
        "OffsetShape", &Spec::offset_v, Dense(DType::kF32, {1, 1, 16}),
        "offset_v: has shape [1, 1, 16]; must be [Nkv, D] = [1, 16], [Nkv * D], [Nkv, 1] or [1]"),
    Reshaped("WeightScaleOfTwoDimensions", &Spec::weight_scale, Dense(DType::kF32, {64, 1}),
             "weight_scale: has shape [64, 1]; must be [H] = [64]"),
    {"WeightScaleShape", kPaged, [](Spec& s) { s.weight_scale.shape[0] = 63; },
     StatusCode::kBadShape, "weight_scale: has shape [63]; must be [H] = [64]"},
    {"BiasShape", kPaged, [](Spec& s) { s.bias.shape[0] = 32; }, StatusCode::kBadShape,
     "bias: has shape [32]; must be [H] = [64]"},
    {"ActivationScaleShape", kPaged, [](Spec& s) { s.activation_scale.shape[0] = 2; },
     StatusCode::kBadShape, "activation_scale: has shape [2]; must be [B * S] = [6]"},
    {"VCacheShape", kPaged, [](Spec& s) { s.v_cache.shape[0] = 3; }, StatusCode::kBadShape,
     "v_cache: has shape [3, 4, 1, 16]; must be the shape of k_cache = [4, 4, 1, 16]"},
    {"PagedIndices", kPaged, [](Spec& s) { s.indices.shape[0] = 2; }, StatusCode::kBadShape,
     "indices: has shape [2]; must be 1-D or 2-D with B * S (paged) = 6 entries"},
    Reshaped("PagedIndicesOfTwoDimensions", &Spec::indices, Dense(DType::kI32, {6, 2}),
             "indices: has shape [6, 2]; must be 1-D or 2-D with B * S (paged) = 6 entries"),
    Reshaped("EmptyIndices", &Spec::indices, Dense(DType::kI32, {0, 6}),
             "indices: has shape [0, 6]; must be 1-D or 2-D with B * S (paged) = 6 entries"),
    {"ContiguousIndices", kContiguous, [](Spec& s) { s.indices.shape[0] = 6; },
     StatusCode::kBadShape,
     "indices: has shape [6]; must be 1-D or 2-D with B (contiguous) = 2 entries"},
    {"CacheRows", kContiguous,
     [](Spec& s) {
       s.k_cache = s.v_cache = Dense(DType::kI8, {1, 8, 1, 16});
     },
     StatusCode::kBadShape, "k_cache: has 1 rows; must be at least x's batch size 2"},
    {"CachePositions", kContiguous,
     [](Spec& s) {
       s.k_cache = s.v_cache = Dense(DType::kI8, {2, 2, 1, 16});
     },
     StatusCode::kBadShape,
     "k_cache: has 2 positions a row; must be at least x's sequence length 3"},
    // Strides of outputs.
    {"BroadcastOutput", kPaged, [](Spec& s) { s.q.stride[1] = 0; }, StatusCode::kBadShape,
     "q: has shape [2, 3, 2, 16] and strides [96, 0, 16, 1]; an output's elements must not share "
     "or "
     "interleave their addresses"},
    {"OverlappingCacheRows", kPaged, [](Spec& s) { s.v_cache.stride[1] = 8; },
     StatusCode::kBadShape,
     "v_cache: has shape [4, 4, 1, 16] and strides [64, 8, 16, 1]; an output's elements must not "
     "share or interleave their addresses"},
};

class SpecRuleTest : public ::testing::TestWithParam<Rule> {};

TEST_P(SpecRuleTest, IsEnforced) { ExpectEnforced(GetParam()); }

INSTANTIATE_TEST_SUITE_P(All, SpecRuleTest, ::testing::ValuesIn(kRules), NameOfRule);

// What the contract says is ignored may be anything.
TEST(SpecRules, IgnoredTensorsAreNotChecked) {
  Spec spec = SimpleSpec(kPaged);
  spec.x.dtype = DType::kF16;
  spec.weight_scale = Dense(DType::kI8, {1, 2, 3});
  spec.bias = Dense(DType::kI8, {-5});
  spec.activation_scale = {};
  spec.kv_output = false;
  spec.k = Dense(DType::kF32, {0});
  spec.v = {};
  const Result<Plan> plan = MakePlan(spec);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
}

TEST(SpecRules, NoTokens) {
  for (const int64_t batch : {0, 2}) {
    Shape shape = SimpleShape(kPaged);
    shape.batch = batch;
    shape.seq_len = batch == 0 ? 3 : 0;
    const Result<Plan> plan = MakePlan(DenseSpec(shape));
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan->num_tokens(), 0);
  }
  // Rows of a cache need not have room for them.
  Shape shape = SimpleShape(kContiguous);
  shape.batch = 0;
  shape.cache_shape = {2, 2};
  const Result<Plan> plan = MakePlan(DenseSpec(shape));
  EXPECT_TRUE(plan.ok()) << plan.status().message();
}

TEST(Targets, ByEnvironment) {
  const Spec spec = SimpleSpec(kPaged);
  for (const Target target : UsableTargets()) {
    ASSERT_EQ(setenv("ROPEKV_TARGET", Name(target), 1), 0);
    EXPECT_EQ(MakePlan(spec)->target(), target);
  }
  ASSERT_EQ(setenv("ROPEKV_TARGET", "best", 1), 0);
  EXPECT_EQ(MakePlan(spec)->target(), UsableTargets().front());

  // The Spec's own choice comes first.
  ASSERT_EQ(setenv("ROPEKV_TARGET", "mmx", 1), 0);
  Spec forced = spec;
  forced.target = Target::kScalar;
  const bool has_scalar = BuiltTargets().back() == Target::kScalar;
  EXPECT_EQ(MakePlan(forced).ok(), has_scalar);

  const Status status = MakePlan(spec).status();
  EXPECT_EQ(status.code(), StatusCode::kBadOption);
  EXPECT_EQ(status.message().find("ROPEKV_TARGET: 'mmx' is unknown; this build has best, "), 0u)
      << status.message();
  unsetenv("ROPEKV_TARGET");
  EXPECT_EQ(MakePlan(spec)->target(), UsableTargets().front());
}

TEST(Targets, OfAnotherProcessor) {
  Spec spec = SimpleSpec(kPaged);
  int foreign = 0;
  for (const Target target :
       {Target::kAvx512Bf16Dot, Target::kAvx512Bf16, Target::kAvx512, Target::kAvx2, Target::kSse4,
        Target::kNeon, Target::kSve, Target::kSve2}) {
    bool usable = false;
    for (const Target here : UsableTargets()) usable = usable || here == target;
    if (usable) continue;
    ++foreign;
    spec.target = target;
    const Status status = MakePlan(spec).status();
    EXPECT_EQ(status.code(), StatusCode::kBadOption);
    EXPECT_EQ(status.message().find(std::string("target: '") + Name(target) +
                                    "' cannot run here; this processor and build have "),
              0u)
        << status.message();
  }
  EXPECT_GT(foreign, 0);
}

}  // namespace
}  // namespace ropekv::testing
