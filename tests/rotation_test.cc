// SPDX-License-Identifier: Apache-2.0
// The rotation of 16-bit values where its products leave the range of f32: kernels may fuse a
// product that is exact with the sum, and must notice where it is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "plan/plan.h"
#include "reference/number_formats.h"
#include "support/problem.h"
#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

constexpr int64_t kTokens = 40, kQHeads = 3, kKvHeads = 2, kHeads = kQHeads + 2 * kKvHeads;
constexpr int64_t kDim = 128, kHalf = kDim / 2;

// A number of about 2^exponent, or as near as the format comes.
uint16_t About(Rng& rng, const reference::NumberFormat& format, int64_t exponent) {
  exponent = std::clamp<int64_t>(exponent, format.min_exponent - format.fraction_bits(),
                                 format.max_exponent);
  const double value = std::ldexp(rng.Real(1.0, 2.0), static_cast<int>(exponent));
  return reference::Encode(format, static_cast<float>(rng.Chance(0.5) ? value : -value));
}

// Pairs whose two products are about as large as each other, at the ends of f32's range or of the
// format's, and now and then a zero.
void FillWithEdges(Problem& problem, const reference::NumberFormat& format, uint64_t seed) {
  Rng rng(seed);
  auto* x = static_cast<uint16_t*>(problem.MutableInput(TensorId::kX));
  auto* cos = static_cast<uint16_t*>(problem.MutableInput(TensorId::kCos));
  auto* sin = static_cast<uint16_t*>(problem.MutableInput(TensorId::kSin));
  for (int64_t token = 0; token < kTokens; ++token) {
    for (int64_t i = 0; i < kHalf; ++i) {
      const int64_t cos_exponent = rng.Int(format.min_exponent, format.max_exponent);
      const int64_t sin_exponent = rng.Int(format.min_exponent, format.max_exponent);
      for (const int64_t lane : {i, i + kHalf}) {
        cos[token * kDim + lane] = About(rng, format, cos_exponent);
        sin[token * kDim + lane] = About(rng, format, sin_exponent);
      }
      for (int64_t head = 0; head < kHeads; ++head) {
        const int64_t edge = rng.Pick({-149, -140, -134, -127, -110, format.min_exponent, 0,
                                       format.max_exponent, 126, 127, 128}) +
                             rng.Int(-2, 2);
        uint16_t* pair = x + (token * kHeads + head) * kDim + i;
        pair[0] = rng.Chance(0.02) ? 0 : About(rng, format, edge - cos_exponent);
        pair[kHalf] = rng.Chance(0.02) ? 0 : About(rng, format, edge - sin_exponent);
      }
    }
  }
}

// How many of the lower outputs a fused operation would round to something else.
int64_t CountInexact(const Problem& problem, const reference::NumberFormat& format) {
  const Args args = problem.actual();
  const auto at = [&](const void* data, int64_t i) {
    return reference::Decode(format, static_cast<const uint16_t*>(data)[i]);
  };
  int64_t count = 0;
  for (int64_t token = 0; token < kTokens; ++token) {
    for (int64_t head = 0; head < kHeads; ++head) {
      for (int64_t i = 0; i < kHalf; ++i) {
        const int64_t channel = (token * kHeads + head) * kDim + i;
        const float a = at(args.x, channel), b = at(args.x, channel + kHalf);
        const float c = at(args.cos, token * kDim + i);
        const float product = b * at(args.sin, token * kDim + i);
        const float separate = a * c - product, fused = std::fma(a, c, -product);
        count += separate != fused && !(std::isnan(separate) && std::isnan(fused));
      }
    }
  }
  return count;
}

class RotationTest : public ::testing::TestWithParam<Target> {};

TEST_P(RotationTest, EdgesOfTheRange) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const bool bf16 = dtype == DType::kBF16;
    const auto& format = bf16 ? reference::kBfloat16 : reference::kBinary16;
    for (const bool kv_output : {false, true}) {
      for (const bool beyond_caches : {false, true}) {
        Spec spec;
        spec.target = GetParam();
        spec.kv_output = kv_output;
        spec.size_splits = {kQHeads * kDim, kKvHeads * kDim, kKvHeads * kDim};
        spec.x = Dense(dtype, {kTokens, kHeads * kDim});
        spec.cos = spec.sin = Dense(dtype, {kTokens, kDim});
        spec.k_cache = spec.v_cache = Dense(DType::kI8, {1, kTokens, kKvHeads, kDim});
        spec.cache_layout = CacheLayout::kPaged;
        spec.indices = Dense(DType::kI32, {kTokens});
        spec.scale_k = spec.scale_v = Dense(DType::kF32, {kKvHeads, kDim});
        spec.q = Dense(dtype, {kTokens, kQHeads, kDim});
        if (kv_output) spec.k = spec.v = Dense(dtype, {kTokens, kKvHeads, kDim});
        const Plan plan = MakePlan(spec).value();
        const_cast<PlanData&>(plan.data()).row.beyond_caches = beyond_caches;
        for (uint64_t seed = 0; seed < 8; ++seed) {
          Problem problem(spec, Flavour::kPlain, seed);
          FillWithEdges(problem, format, seed);
          // Levels of every size, of the smallest k and of the largest.
          Rng rng(seed);
          auto* scale = static_cast<float*>(problem.MutableInput(TensorId::kScaleK));
          for (int64_t i = 0; i < kKvHeads * kDim; ++i) {
            scale[i] = std::ldexp(1.0f, static_cast<int>(rng.Int(-149, 127)));
          }
          // f16 products are exact, whatever the exponents.
          const int64_t inexact = CountInexact(problem, format);
          if (bf16) {
            ASSERT_GT(inexact, 100);
          } else {
            ASSERT_EQ(inexact, 0);
          }
          Coverage coverage;
          ASSERT_EQ(RunAndCompare(problem, plan, {.num_threads = 1}, &coverage), "")
              << Name(dtype) << " seed " << seed << (kv_output ? ", k and v" : "")
              << (beyond_caches ? ", beyond the caches" : "");
          ASSERT_GT(coverage.changed_bytes, 10000);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RotationTest,
                         ::testing::ValuesIn(UsableTargets().begin(), UsableTargets().end()),
                         [](const auto& param) { return std::string(Name(param.param)); });

}  // namespace
}  // namespace ropekv::testing
