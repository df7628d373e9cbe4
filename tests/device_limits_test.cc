// SPDX-License-Identifier: Apache-2.0
// What strict_device_limits refuses, and that nothing else does.
#include <gtest/gtest.h>

#include "support/spec_rule.h"

namespace ropekv::testing {
namespace {

constexpr auto kPaged = CacheLayout::kPaged;
constexpr auto kLimit = StatusCode::kDeviceLimit;

const Rule kRules[] = {
    {"HeadDim", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.num_q_heads = 6;
       shape.head_dim = 8;
       s = DenseSpec(shape);
     },
     kLimit, "k_cache: has head_dim 8; the device takes multiples of 16"},
    {"Hidden", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.num_q_heads = 4;
       s = DenseSpec(shape);
     },
     kLimit, "x: has a last dimension of 96; the device takes multiples of 64 up to 4096"},
    {"LongHidden", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.num_q_heads = 258;
       s = DenseSpec(shape);
     },
     kLimit, "x: has a last dimension of 4160; the device takes multiples of 64 up to 4096"},
    {"Offsets", kPaged, [](Spec& s) { s.offset_k = {}; }, kLimit,
     "offset_k: is absent; the device uses both offsets or none"},
    {"FloatX", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.x_dtype = shape.out_dtype = DType::kF32;
       s = DenseSpec(shape);
     },
     kLimit, "x: has dtype f32, which the device does not take"},
    {"FloatQ", kPaged,
     [](Spec& s) {
       Shape shape = SimpleShape(kPaged);
       shape.out_dtype = DType::kF32;
       s = DenseSpec(shape);
     },
     kLimit, "q: has dtype f32, which the device does not take"},
    {"FloatCos", kPaged, [](Spec& s) { s.cos.dtype = s.sin.dtype = DType::kF32; }, kLimit,
     "cos: has dtype f32, which the device does not take"},
    {"FloatCaches", kPaged,
     [](Spec& s) {
       s.k_cache.dtype = s.v_cache.dtype = DType::kF16;
       s.scale_k = s.scale_v = s.offset_k = s.offset_v = {};
     },
     kLimit, "k_cache: has dtype f16; the device takes i8"},
    {"IndicesOf64Bits", kPaged, [](Spec& s) { s.indices.dtype = DType::kI64; }, kLimit,
     "indices: must be i32 and one-dimensional for the device"},
    {"IndicesOfTwoDimensions", kPaged,
     [](Spec& s) {
       s.indices = Dense(DType::kI32, {2, 3});
     },
     kLimit, "indices: must be i32 and one-dimensional for the device"},
    {"Positions", kPaged,
     [](Spec& s) {
       s.positions = Dense(DType::kI32, {6});
       s.cos = s.sin = Dense(DType::kF16, {9, 16});
     },
     kLimit, "positions: is given; the device takes a row of cos a token"},
    {"AnglesForPairs", kPaged, [](Spec& s) { s.cos.shape[3] = s.sin.shape[3] = 8; }, kLimit,
     "cos: has an entry a pair; the device takes one a channel"},
    {"RotaryDim", kPaged,
     [](Spec& s) {
       s.rotary_dim = 8;
       s.cos.shape[3] = s.sin.shape[3] = 8;
     },
     kLimit, "rotary_dim: is below head_dim, which the device takes"},
    {"Interleaved", kPaged, [](Spec& s) { s.rotary_style = RotaryStyle::kInterleaved; }, kLimit,
     "rotary_style: is interleaved; the device takes half"},
    {"ScaleForAll", kPaged, [](Spec& s) { s.scale_k = Dense(DType::kF32, {1}); }, kLimit,
     "scale_k: is for a head or for all; the device takes one a channel"},
    {"OffsetForAHead", kPaged,
     [](Spec& s) {
       s.offset_v = Dense(DType::kF32, {1, 1});
     },
     kLimit, "offset_v: is for a head or for all; the device takes one a channel"},
};

class DeviceLimitTest : public ::testing::TestWithParam<Rule> {};

TEST_P(DeviceLimitTest, IsEnforcedWhereAsked) {
  Rule rule = GetParam();
  Spec spec = SimpleSpec(rule.layout);
  rule.spoil(spec);
  const Result<Plan> plan = MakePlan(spec);
  EXPECT_TRUE(plan.ok()) << plan.status().message();

  rule.spoil = [spoil = rule.spoil](Spec& strict) {
    spoil(strict);
    strict.strict_device_limits = true;
  };
  ExpectEnforced(rule);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceLimitTest, ::testing::ValuesIn(kRules), NameOfRule);

TEST(DeviceLimits, LetThroughWhatTheDeviceTakes) {
  Spec spec = SimpleSpec(kPaged);
  spec.strict_device_limits = true;
  EXPECT_TRUE(MakePlan(spec).ok());
  spec.offset_k = spec.offset_v = {};
  EXPECT_TRUE(MakePlan(spec).ok());
  spec.rotary_dim = 16;  // all of a head, said
  EXPECT_TRUE(MakePlan(spec).ok());
  spec.scale_k = Dense(DType::kF32, {16});
  EXPECT_TRUE(MakePlan(spec).ok());

  Shape longest = SimpleShape(kPaged);
  longest.num_q_heads = 254;
  spec = DenseSpec(longest);
  spec.strict_device_limits = true;
  EXPECT_EQ(spec.x.shape[spec.x.rank - 1], 4096);
  EXPECT_TRUE(MakePlan(spec).ok());
}

}  // namespace
}  // namespace ropekv::testing
