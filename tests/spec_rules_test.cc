// SPDX-License-Identifier: Apache-2.0
// Every rule about a Spec: breaking it gives the code, names the culprit, and says what is legal.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

struct Rule {
  const char* name;
  CacheLayout layout;
  std::function<void(Spec&)> spoil;
  StatusCode code;
  const char* message;  // the whole of it
};

constexpr auto kContiguous = CacheLayout::kContiguous;
constexpr auto kPaged = CacheLayout::kPaged;

void StrictDefaults(Spec& spec) { spec.strict_device_limits = true; }

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
    {"NoK", kPaged, [](Spec& s) { s.k = {}; }, StatusCode::kNullPointer,
     "k: is required by kv_output but absent"},
    // Dtypes.
    {"XDType", kPaged, [](Spec& s) { s.x.dtype = DType::kF32; }, StatusCode::kBadDType,
     "x: has dtype f32; must be one of i32, f16, bf16"},
    {"CosDType", kPaged, [](Spec& s) { s.cos.dtype = DType::kF32; }, StatusCode::kBadDType,
     "cos: has dtype f32; must be one of f16, bf16"},
    {"SinDType", kPaged, [](Spec& s) { s.sin.dtype = DType::kBF16; }, StatusCode::kBadDType,
     "sin: has dtype bf16; must be f16, the dtype of cos"},
    {"HalfXOtherCos", kPaged, [](Spec& s) { s.x.dtype = DType::kBF16; }, StatusCode::kBadDType,
     "cos: has dtype f16; must be bf16, the dtype of x"},
    {"QDType", kPaged, [](Spec& s) { s.q.dtype = DType::kBF16; }, StatusCode::kBadDType,
     "q: has dtype bf16; must be f16, the dtype of cos"},
    {"VDType", kPaged, [](Spec& s) { s.v.dtype = DType::kI8; }, StatusCode::kBadDType,
     "v: has dtype i8; must be f16, the dtype of cos"},
    {"ScaleDType", kPaged, [](Spec& s) { s.scale_v.dtype = DType::kF16; }, StatusCode::kBadDType,
     "scale_v: has dtype f16; must be f32"},
    {"OffsetDType", kPaged, [](Spec& s) { s.offset_k.dtype = DType::kI32; }, StatusCode::kBadDType,
     "offset_k: has dtype i32; must be f32"},
    {"ActivationScaleDType", kPaged, [](Spec& s) { s.activation_scale.dtype = DType::kF16; },
     StatusCode::kBadDType, "activation_scale: has dtype f16; must be f32"},
    {"CacheDType", kPaged, [](Spec& s) { s.v_cache.dtype = DType::kF16; }, StatusCode::kBadDType,
     "v_cache: has dtype f16; must be i8"},
    {"IndicesDType", kPaged, [](Spec& s) { s.indices.dtype = DType::kF32; }, StatusCode::kBadDType,
     "indices: has dtype f32; must be i32"},
    {"BiasDType", kPaged, [](Spec& s) { s.bias.dtype = DType::kI8; }, StatusCode::kBadDType,
     "bias: has dtype i8; must be one of f32, f16, bf16, i32"},
    // Shapes.
    {"XRank", kPaged, [](Spec& s) { s.x = Dense(DType::kI32, {384}); }, StatusCode::kBadShape,
     "x: has shape [384]; must be [B, S, H] or [B, H]"},
    {"TooManyDimensions", kPaged,
     [](Spec& s) {
       s.x = Dense(DType::kI32, {1, 1, 2, 3, 64});
     },
     StatusCode::kBadShape, "x: has 5 dimensions; at most 4 are possible"},
    {"NegativeExtent", kPaged, [](Spec& s) { s.x.shape[0] = -2; }, StatusCode::kBadShape,
     "x: has shape [-2, 3, 64] and strides [192, 64, 1]; extents must be >= 0 and all offsets fit "
     "in 63 bits"},
    {"HugeStride", kPaged, [](Spec& s) { s.cos.stride[0] = INT64_MAX; }, StatusCode::kBadShape,
     "cos: has shape [2, 3, 1, 16] and strides [9223372036854775807, 16, 16, 1]; extents must be "
     ">= 0 and all offsets fit in 63 bits"},
    {"CacheRank", kPaged,
     [](Spec& s) {
       s.k_cache = Dense(DType::kI8, {16, 1, 16});
     },
     StatusCode::kBadShape,
     "k_cache: has shape [16, 1, 16]; must be 4-D [C1, C2, num_kv_heads, head_dim]"},
    {"OddHeadDim", kPaged, [](Spec& s) { s.k_cache.shape[3] = 15; }, StatusCode::kBadShape,
     "k_cache: has head_dim 15; must be even and >= 2"},
    {"ZeroHeadDim", kPaged, [](Spec& s) { s.k_cache.shape[3] = 0; }, StatusCode::kBadShape,
     "k_cache: has head_dim 0; must be even and >= 2"},
    {"SplitsKV", kPaged,
     [](Spec& s) {
       s.size_splits = {16, 16, 32};
     },
     StatusCode::kBadShape, "size_splits: is [16, 16, 32]; the k and v parts must be equal"},
    {"SplitsNegative", kPaged,
     [](Spec& s) {
       s.size_splits = {-16, 16, 16};
     },
     StatusCode::kBadShape, "size_splits: is [-16, 16, 16]; entries must be >= 0"},
    {"SplitsCache", kPaged,
     [](Spec& s) {
       s.size_splits = {0, 32, 32};
     },
     StatusCode::kBadShape,
     "size_splits: is [0, 32, 32]; the k part must be num_kv_heads * head_dim of k_cache = 1 * 16"},
    {"SplitsQ", kPaged,
     [](Spec& s) {
       s.size_splits = {30, 16, 16};
     },
     StatusCode::kBadShape,
     "size_splits: is [30, 16, 16]; the q part must be a multiple of head_dim 16"},
    {"SplitsSum", kPaged,
     [](Spec& s) {
       s.size_splits = {48, 16, 16};
     },
     StatusCode::kBadShape,
     "size_splits: is [48, 16, 16]; the parts must sum to x's last dimension 64"},
    {"CosShape", kPaged,
     [](Spec& s) {
       s.cos = Dense(DType::kF16, {6, 16});
     },
     StatusCode::kBadShape, "cos: has shape [6, 16]; must be [B, S, 1, D] = [2, 3, 1, 16]"},
    {"SinShape", kPaged, [](Spec& s) { s.sin.shape[3] = 8; }, StatusCode::kBadShape,
     "sin: has shape [2, 3, 1, 8]; must be [B, S, 1, D] = [2, 3, 1, 16]"},
    {"QShape", kPaged, [](Spec& s) { s.q.shape[2] = 1; }, StatusCode::kBadShape,
     "q: has shape [2, 3, 1, 16]; must be [B, S, Nq, D] = [2, 3, 2, 16]"},
    {"KShape", kPaged, [](Spec& s) { s.k.shape[1] = 4; }, StatusCode::kBadShape,
     "k: has shape [2, 4, 1, 16]; must be [B, S, Nkv, D] = [2, 3, 1, 16]"},
    {"ScaleShape", kPaged, [](Spec& s) { s.scale_k.shape[1] = 8; }, StatusCode::kBadShape,
     "scale_k: has shape [1, 8]; must be [Nkv, D] = [1, 16]"},
    {"ScaleFlatShape", kPaged, [](Spec& s) { s.scale_k = Dense(DType::kF32, {15}); },
     StatusCode::kBadShape, "scale_k: has shape [15]; must be [Nkv * D] = [16]"},
    {"OffsetShape", kPaged, [](Spec& s) { s.offset_v.shape[0] = 2; }, StatusCode::kBadShape,
     "offset_v: has shape [2, 16]; must be [Nkv, D] = [1, 16]"},
    {"WeightScaleShape", kPaged, [](Spec& s) { s.weight_scale.shape[0] = 63; },
     StatusCode::kBadShape, "weight_scale: has shape [63]; must be [H] = [64]"},
    {"BiasShape", kPaged, [](Spec& s) { s.bias.shape[0] = 32; }, StatusCode::kBadShape,
     "bias: has shape [32]; must be [H] = [64]"},
    {"ActivationScaleShape", kPaged, [](Spec& s) { s.activation_scale.shape[0] = 2; },
     StatusCode::kBadShape, "activation_scale: has shape [2]; must be [B * S] = [6]"},
    {"VCacheShape", kPaged, [](Spec& s) { s.v_cache.shape[0] = 3; }, StatusCode::kBadShape,
     "v_cache: has shape [3, 4, 1, 16]; must be the shape of k_cache = [4, 4, 1, 16]"},
    {"PagedIndices", kPaged, [](Spec& s) { s.indices.shape[0] = 2; }, StatusCode::kBadShape,
     "indices: has shape [2]; must be [B * S] (paged) = [6]"},
    {"ContiguousIndices", kContiguous, [](Spec& s) { s.indices.shape[0] = 6; },
     StatusCode::kBadShape, "indices: has shape [6]; must be [B] (contiguous) = [2]"},
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
    // Device limits.
    {"StrictHeadDim", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.num_q_heads = 6;
       shape.head_dim = 8;
       s = DenseSpec(shape);
       StrictDefaults(s);
     },
     StatusCode::kDeviceLimit, "k_cache: has head_dim 8; the device takes multiples of 16"},
    {"StrictHidden", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.num_q_heads = 1;
       s = DenseSpec(shape);
       StrictDefaults(s);
     },
     StatusCode::kDeviceLimit,
     "x: has a last dimension of 48; the device takes multiples of 64 up to 4096"},
    {"StrictOffsets", kPaged,
     [](Spec& s) {
       StrictDefaults(s);
       s.offset_k = {};
     },
     StatusCode::kDeviceLimit, "offset_k: is absent; the device uses both offsets or none"},
};

class SpecRuleTest : public ::testing::TestWithParam<Rule> {};

TEST_P(SpecRuleTest, IsEnforced) {
  const Rule& rule = GetParam();
  Spec spec = SimpleSpec(rule.layout);
  ASSERT_TRUE(MakePlan(spec).ok());
  rule.spoil(spec);
  const Result<Plan> plan = MakePlan(spec);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), rule.code);
  EXPECT_EQ(plan.status().message(), rule.message);
}

INSTANTIATE_TEST_SUITE_P(All, SpecRuleTest, ::testing::ValuesIn(kRules),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(SpecRules, StrictPassesWhatTheDeviceTakes) {
  Spec spec = SimpleSpec(kPaged);
  spec.strict_device_limits = true;
  EXPECT_TRUE(MakePlan(spec).ok());
  spec.offset_k = spec.offset_v = {};
  EXPECT_TRUE(MakePlan(spec).ok());
}

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
  for (const Target target : {Target::kAvx512Bf16, Target::kAvx512, Target::kAvx2, Target::kSse4,
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
