// SPDX-License-Identifier: Apache-2.0
// The rules on dtypes: breaking one gives the code, names the culprit, and says what is legal.
#include <gtest/gtest.h>

#include "support/spec_rule.h"

namespace ropekv::testing {
namespace {

constexpr auto kPaged = CacheLayout::kPaged;
constexpr auto kBad = StatusCode::kBadDType;

// Caches of this dtype, without scales and offsets.
void GiveCaches(Spec& spec, DType dtype) {
  spec.k_cache.dtype = spec.v_cache.dtype = dtype;
  spec.scale_k = spec.scale_v = spec.offset_k = spec.offset_v = {};
}

// Of i32 x, f16 outputs and i8 caches.
const Rule kRules[] = {
    {"X", kPaged, [](Spec& s) { s.x.dtype = DType::kI8; }, kBad,
     "x: has dtype i8; must be one of i32, f16, bf16, f32"},
    {"XOf64Bits", kPaged, [](Spec& s) { s.x.dtype = DType::kI64; }, kBad,
     "x: has dtype i64; must be one of i32, f16, bf16, f32"},
    {"QOfIntegerX", kPaged, [](Spec& s) { s.q.dtype = DType::kI8; }, kBad,
     "q: has dtype i8; must be one of f16, bf16, f32"},
    {"QOfHalfX", kPaged, [](Spec& s) { s.x.dtype = DType::kBF16; }, kBad,
     "q: has dtype f16; must be bf16, the dtype of x"},
    {"QOfFloatX", kPaged, [](Spec& s) { s.x.dtype = DType::kF32; }, kBad,
     "q: has dtype f16; must be f32, the dtype of x"},
    {"K", kPaged, [](Spec& s) { s.k.dtype = DType::kF32; }, kBad,
     "k: has dtype f32; must be f16, the dtype of q"},
    {"V", kPaged, [](Spec& s) { s.v.dtype = DType::kI8; }, kBad,
     "v: has dtype i8; must be f16, the dtype of q"},
    {"Cos", kPaged, [](Spec& s) { s.cos.dtype = DType::kBF16; }, kBad,
     "cos: has dtype bf16; must be one of f16, f32, the dtype of q or f32"},
    {"CosOfFloatQ", kPaged, [](Spec& s) { s.q.dtype = s.k.dtype = s.v.dtype = DType::kF32; }, kBad,
     "cos: has dtype f16; must be f32, the dtype of q"},
    {"Sin", kPaged, [](Spec& s) { s.sin.dtype = DType::kBF16; }, kBad,
     "sin: has dtype bf16; must be f16, the dtype of cos"},
    {"SinOfFloatCos", kPaged, [](Spec& s) { s.cos.dtype = DType::kF32; }, kBad,
     "sin: has dtype f16; must be f32, the dtype of cos"},
    {"KCache", kPaged, [](Spec& s) { GiveCaches(s, DType::kI32); }, kBad,
     "k_cache: has dtype i32; must be one of i8, f16, bf16, f32"},
    {"VCache", kPaged, [](Spec& s) { s.v_cache.dtype = DType::kF16; }, kBad,
     "v_cache: has dtype f16; must be i8, the dtype of k_cache"},
    {"Scale", kPaged, [](Spec& s) { s.scale_v.dtype = DType::kF16; }, kBad,
     "scale_v: has dtype f16; must be f32"},
    {"Offset", kPaged, [](Spec& s) { s.offset_k.dtype = DType::kI32; }, kBad,
     "offset_k: has dtype i32; must be f32"},
    {"ScaleOfAFloatCache", kPaged,
     [](Spec& s) {
       const TensorSpec scale = s.scale_v;
       GiveCaches(s, DType::kBF16);
       s.scale_v = scale;
     },
     kBad, "scale_v: is given with caches of bf16; scales and offsets are for i8 caches only"},
    {"OffsetOfAFloatCache", kPaged,
     [](Spec& s) {
       const TensorSpec offset = s.offset_k;
       GiveCaches(s, DType::kF32);
       s.offset_k = offset;
     },
     kBad, "offset_k: is given with caches of f32; scales and offsets are for i8 caches only"},
    {"WeightScale", kPaged, [](Spec& s) { s.weight_scale.dtype = DType::kBF16; }, kBad,
     "weight_scale: has dtype bf16; must be f32"},
    {"ActivationScale", kPaged, [](Spec& s) { s.activation_scale.dtype = DType::kF16; }, kBad,
     "activation_scale: has dtype f16; must be f32"},
    {"Indices", kPaged, [](Spec& s) { s.indices.dtype = DType::kF32; }, kBad,
     "indices: has dtype f32; must be one of i32, i64"},
    {"Positions", kPaged, [](Spec& s) { s.positions = Dense(DType::kI8, {6}); }, kBad,
     "positions: has dtype i8; must be one of i32, i64"},
    {"Bias", kPaged, [](Spec& s) { s.bias.dtype = DType::kI64; }, kBad,
     "bias: has dtype i64; must be one of f32, f16, bf16, i32"},
};

class SpecDTypeTest : public ::testing::TestWithParam<Rule> {};

TEST_P(SpecDTypeTest, IsEnforced) { ExpectEnforced(GetParam()); }

INSTANTIATE_TEST_SUITE_P(All, SpecDTypeTest, ::testing::ValuesIn(kRules), NameOfRule);

// The table of the contract, cell by cell: what it has is planned, nothing else.
TEST(SpecDTypes, LegalTogether) {
  using enum DType;
  constexpr DType kAll[] = {kI8, kI32, kI64, kF16, kBF16, kF32};
  const auto is_float = [](DType dtype) {
    return dtype == kF16 || dtype == kBF16 || dtype == kF32;
  };
  int planned = 0;
  for (const DType x : kAll) {
    for (const DType q : kAll) {
      for (const DType cos : kAll) {
        for (const DType cache : kAll) {
          Spec spec = SimpleSpec(kPaged);
          spec.x.dtype = x;
          spec.q.dtype = spec.k.dtype = spec.v.dtype = q;
          spec.cos.dtype = spec.sin.dtype = cos;
          GiveCaches(spec, cache);
          if (cache == kI8) spec.scale_k = spec.scale_v = Dense(kF32, {1});
          const bool legal = (x == kI32 ? is_float(q) : is_float(x) && q == x) &&
                             (cos == q || cos == kF32) && (cache == kI8 || is_float(cache));
          const Result<Plan> plan = MakePlan(spec);
          planned += plan.ok();
          EXPECT_EQ(plan.ok(), legal) << Name(x) << " " << Name(q) << " " << Name(cos) << " "
                                      << Name(cache) << ": " << plan.status().message();
          if (!legal) {
            EXPECT_EQ(plan.status().code(), kBad);
          }
        }
      }
    }
  }
  // 6 pairs of x and q, of which 2 have f32 alone for cos; 4 caches.
  EXPECT_EQ(planned, (4 * 2 + 2) * 4);
}

}  // namespace
}  // namespace ropekv::testing
