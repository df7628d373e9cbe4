// SPDX-License-Identifier: Apache-2.0
// The rotation of 16-bit values where its products leave the range of f32: kernels may fuse a
// product that is exact with the sum, and must notice where it is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "reference/number_formats.h"
#include "support/problem.h"
#include "support/streaming_plan.h"

namespace ropekv::testing {
namespace {

constexpr int64_t kQHeads = 3, kKvHeads = 2, kHeads = kQHeads + 2 * kKvHeads;
constexpr int64_t kDim = 128, kHalf = kDim / 2;

// A number of about 2^exponent, or as near as the format comes.
uint16_t About(Rng& rng, const reference::NumberFormat& format, int64_t exponent) {
  exponent = std::clamp<int64_t>(exponent, format.min_exponent - format.fraction_bits(),
                                 format.max_exponent);
  const double value = std::ldexp(rng.Real(1.0, 2.0), static_cast<int>(exponent));
  return reference::Encode(format, static_cast<float>(rng.Chance(0.5) ? value : -value));
}

// Pairs whose two products are about as large as each other: ordinary ones, and in each head a few,
// so that they have to be noticed among those, at one of the ends of f32's range or of the
// format's.
void FillWithEdges(Problem& problem, const reference::NumberFormat& format, int64_t tokens,
                   uint64_t seed) {
  Rng rng(seed);
  auto* x = static_cast<uint16_t*>(problem.MutableInput(TensorId::kX));
  auto* cos = static_cast<uint16_t*>(problem.MutableInput(TensorId::kCos));
  auto* sin = static_cast<uint16_t*>(problem.MutableInput(TensorId::kSin));
  for (int64_t token = 0; token < tokens; ++token) {
    int64_t edges[kHeads];
    for (int64_t& edge : edges) {
      edge = rng.Pick(
          {-149, -140, -134, -127, -110, format.min_exponent, format.max_exponent, 126, 127, 127});
    }
    for (int64_t i = 0; i < kHalf; ++i) {
      const int64_t cos_exponent = rng.Int(1 - format.max_exponent, format.max_exponent - 1);
      const int64_t sin_exponent = rng.Int(1 - format.max_exponent, format.max_exponent - 1);
      cos[token * kDim + i] = About(rng, format, cos_exponent);
      sin[token * kDim + i] = About(rng, format, sin_exponent);
      // The other way round in the upper half, where the other products are taken.
      cos[token * kDim + i + kHalf] = About(rng, format, sin_exponent);
      sin[token * kDim + i + kHalf] = About(rng, format, cos_exponent);
      for (int64_t head = 0; head < kHeads; ++head) {
        const bool at_edge = rng.Chance(0.03);
        const auto exponent = [&] { return at_edge ? edges[head] + rng.Int(-1, 1) : 0; };
        uint16_t* pair = x + (token * kHeads + head) * kDim + i;
        pair[0] = About(rng, format, exponent() - cos_exponent);
        pair[kHalf] = About(rng, format, exponent() - sin_exponent);
      }
    }
  }
}

// How many of the lower outputs a fused operation would round to something else.
int64_t CountInexact(const Problem& problem, const reference::NumberFormat& format,
                     int64_t tokens) {
  const Args args = problem.actual();
  const auto at = [&](const void* data, int64_t i) {
    return reference::Decode(format, static_cast<const uint16_t*>(data)[i]);
  };
  int64_t count = 0;
  for (int64_t token = 0; token < tokens; ++token) {
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

// `problems` of so many tokens, in and beyond the caches, with and without k and v as outputs.
// Returns how many products were not exact.
int64_t CompareAll(Target target, DType dtype, int64_t tokens, uint64_t problems) {
  const auto& format = dtype == DType::kBF16 ? reference::kBfloat16 : reference::kBinary16;
  int64_t inexact = 0;
  for (uint64_t seed = 0; seed < problems; ++seed) {
    Spec spec = DenseSpec({.batch = tokens,
                           .num_q_heads = kQHeads,
                           .num_kv_heads = kKvHeads,
                           .head_dim = kDim,
                           .x_dtype = dtype,
                           .out_dtype = dtype,
                           .cache_layout = CacheLayout::kPaged,
                           .cache_shape = {1, tokens},
                           .kv_output = seed % 2 != 0});
    spec.target = target;
    const Plan plan = MakeStreamingPlan(spec, seed / 2 % 2 != 0).value();
    Problem problem(spec, Flavour::kPlain, seed);
    FillWithEdges(problem, format, tokens, seed);
    if (seed / 4 % 2 != 0) {
      // So that levels of the largest k are ones that int8 holds.
      Rng rng(seed);
      auto* scale = static_cast<float*>(problem.MutableInput(TensorId::kScaleK));
      for (int64_t i = 0; i < kKvHeads * kDim; ++i) {
        scale[i] =
            std::ldexp(static_cast<float>(rng.Real(1.0, 2.0)), static_cast<int>(rng.Int(118, 125)));
      }
    }
    inexact += CountInexact(problem, format, tokens);
    Coverage coverage;
    EXPECT_EQ(RunAndCompare(problem, plan, {.num_threads = 1}, &coverage), "")
        << Name(dtype) << ", " << tokens << " tokens, seed " << seed;
    EXPECT_GT(coverage.changed_bytes, tokens * kQHeads * kDim);
    if (::testing::Test::HasFailure()) break;
  }
  return inexact;
}

TEST_P(RotationTest, EdgesOfTheRange) {
  // Of one and two tokens k is made otherwise.
  for (const auto& [tokens, problems] : {std::pair(40, 40), std::pair(2, 800)}) {
    EXPECT_GT(CompareAll(GetParam(), DType::kBF16, tokens, problems), 200);
    // f16 products are exact, whatever the exponents.
    EXPECT_EQ(CompareAll(GetParam(), DType::kF16, tokens, problems), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RotationTest,
                         ::testing::ValuesIn(UsableTargets().begin(), UsableTargets().end()),
                         [](const auto& param) { return std::string(Name(param.param)); });

}  // namespace
}  // namespace ropekv::testing
