// SPDX-License-Identifier: Apache-2.0
// The rotation of 16-bit values where its products leave the range of f32: kernels may fuse a
// product that is exact with the sum, and must notice where it is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

#include "reference/number_formats.h"
#include "support/float_call.h"
#include "support/problem.h"
#include "support/share.h"
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
int64_t CompareAll(Target target, DType dtype, int64_t tokens, int64_t problems) {
  const auto& format = dtype == DType::kBF16 ? reference::kBfloat16 : reference::kBinary16;
  int64_t inexact = 0;
  for (uint64_t seed = 0; seed < static_cast<uint64_t>(problems); ++seed) {
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
  for (const auto& [tokens, problems] :
       {std::pair(40, Share(40, 8)), std::pair(2, Share(800, 8))}) {
    EXPECT_GT(CompareAll(GetParam(), DType::kBF16, tokens, problems), Share(200));
    // f16 products are exact, whatever the exponents.
    EXPECT_EQ(CompareAll(GetParam(), DType::kF16, tokens, problems), 0);
  }
}

// One pair, rotated: x_lo * cos - x_hi * sin. The numbers are bf16's.
struct Pair {
  const char* name;
  float x_lo, x_hi, cos, sin;
};
constexpr float kSubnormal = 0x1.8p-128f;
constexpr Pair kPairs[] = {
    // What AVX512_BF16 takes for zeros.
    {"subnormal x by 2^32", kSubnormal, 0x1p-20f, 0x1p32f, 1},
    {"subnormal x by more", 0x1p-127f, 0x1p-20f, 0x1p100f, 1},
    {"subnormal x by more, alone", 0x1p-127f, 0, 0x1p100f, 1},
    {"subnormal x by the next more", kSubnormal, 0, 0x1.02p32f, 0},
    {"subnormal x by 2^62", 0x1p-127f, -0x1p-58f, 0x1p62f, 1},
    {"subnormal cos", 0x1.8p94f, 0x1p-28f, 0x1p-127f, 1},
    {"subnormal cos, alone", 0x1.8p94f, 0, 0x1p-127f, 1},
    {"subnormal sin", 0x1p-28f, 0x1.8p94f, 1, 0x1p-127f},
    {"subnormal sin, alone", 0, 0x1.8p94f, 1, 0x1p-127f},
    {"least normal cos", 0x1.8p94f, 0x1p-26f, 0x1p-126f, 1},
    {"subnormal result", 0x1p-100f, 0, 0x1.02p-30f, 1},
    {"rounded subnormal result", 0x1.82p-100f, 0, 0x1.02p-33f, 1},
    {"both products subnormal", 0x1.8p-70f, 0x1.4p-71f, 0x1p-60f, 0x1p-62f},
    // Products beyond f32, whose difference is not.
    {"inf - inf", 0x1p96f, 0x1p96f, 0x1p32f, 0x1p32f},
    {"-inf + inf", 0x1p97f, -0x1p96f, -0x1p31f, 0x1p32f},
    {"inf - inf of other factors", 0x1p100f, 0x1p101f, 0x1p28f, 0x1p27f},
    {"the largest that cancel", 0x1.fep94f, 0x1.fep94f, 0x1p32f, 0x1p32f},
    {"at 2^95", 0x1p95f, 0x1p95f, 0x1p32f, 0x1p32f},
    {"inf - a number", 0x1p96f, 0x1p95f, 0x1p32f, 0x1p32f},
    {"a sum beyond", 0x1.fep95f, -0x1.fep95f, 0x1p32f, 0x1p32f},
    {"large", 0x1.8p66f, 0x1.8p66f, 0.5f, 0.25f},
    {"infinite x", INFINITY, 1, 0.5f, 0.5f},
    {"infinite x by 0", INFINITY, 1, 0, 0.5f},
    {"infinite cos", 1, 1, INFINITY, 0.5f},
    {"0 by infinite sin", 1, 0, 0.5f, INFINITY},
    {"NaN", NAN, 1, 0.5f, 0.5f},
    {"NaN cos", 1, 1, NAN, 0.5f},
    // Zeros.
    {"cancelled", 1.5f, 1.5f, 0.5f, 0.5f},
    {"0 - 0", 0, 0, 1, 1},
    {"-0 - 0", -0.0f, 0, 1, 1},
    {"0 - -0", 0, -0.0f, 1, 1},
    {"-0 - -0", -0.0f, -0.0f, 1, 1},
    {"-0 by angles of both signs", -0.0f, -0.0f, 1, -1},
    {"angles of 0", 1, 1, 0, 0},
    {"angles of -0", 1, 1, -0.0f, 0},
    {"the usual angle", 0x1.8p-3f, 0x1.4p-2f, 1, 0},
};

// A token for each of kPairs, as pair `at` of all of its heads, the others being such that nothing
// makes a kernel doubt them. Mirrored in the upper half, where the same two products are summed.
void FillWithPairs(Problem& problem, int64_t head_dim, int64_t at) {
  const auto bits = [](double value) {
    return reference::Encode(reference::kBfloat16, static_cast<float>(value));
  };
  Rng rng(static_cast<uint64_t>(head_dim));
  const int64_t half = head_dim / 2;
  auto* x = static_cast<uint16_t*>(problem.MutableInput(TensorId::kX));
  auto* cos = static_cast<uint16_t*>(problem.MutableInput(TensorId::kCos));
  auto* sin = static_cast<uint16_t*>(problem.MutableInput(TensorId::kSin));
  for (const Pair& pair : kPairs) {
    for (int64_t i = 0; i < half; ++i) {
      cos[i] = bits(i == at ? pair.cos : 0.75);
      sin[i] = bits(i == at ? pair.sin : 0.25);
      cos[i + half] = bits(i == at ? -pair.sin : 0.75);
      sin[i + half] = bits(i == at ? pair.cos : 0.25);
      for (int64_t head = 0; head < 3; ++head) {
        x[head * head_dim + i] = bits(i == at ? pair.x_lo : rng.Real(1, 2));
        x[head * head_dim + half + i] = bits(i == at ? pair.x_hi : rng.Real(1, 2));
      }
    }
    x += 3 * head_dim;
    cos += head_dim;
    sin += head_dim;
  }
}

// k has no output whose rounding is checked. Its scale makes an integer of what a kernel may lose
// or cannot hold, so that the scale must be in doubt.
TEST_P(RotationTest, ScalesOfLostAndOfInfiniteProducts) {
  struct {
    double a, b, cos, sin, scale;
    int level_a;
  } const cases[] = {
      {0x1p-130, 0, 0x1p32, 0, 0x1p-98, 1},       // x is subnormal
      {0x1p127, 0x1p126, 2, 2, 0x1p122, 127},     // infinity - 2^127, and not 2^127
      {-0x1p127, -0x1p126, 2, 2, 0x1p122, -128},  // the same below 0
  };
  for (const auto& one : cases) {
    for (const RotaryStyle style : {RotaryStyle::kHalf, RotaryStyle::kInterleaved}) {
      constexpr int64_t kHeadDim = 64;
      FloatCall call({.num_q_heads = 1,
                      .num_kv_heads = 1,
                      .head_dim = kHeadDim,
                      .cache_layout = CacheLayout::kPaged,
                      .cache_shape = {1, 1},
                      .rotary_style = style});
      const auto is_a = [&](int64_t c) {
        return style == RotaryStyle::kHalf ? c < kHeadDim / 2 : c % 2 == 0;
      };
      call.Fill(TensorId::kX, 0);
      for (int64_t c = 0; c < kHeadDim; ++c) {
        call.Set(TensorId::kX, kHeadDim + c, is_a(c) ? one.a : one.b);
      }
      // The other channel of each pair is 0: in doubt it would have the whole head done again.
      for (int64_t c = 0; c < kHeadDim; ++c) {
        call.Set(TensorId::kCos, c, is_a(c) ? one.cos : 0);
        call.Set(TensorId::kSin, c, is_a(c) ? one.sin : 0);
      }
      call.Fill(TensorId::kScaleK, one.scale);
      call.Fill(TensorId::kScaleV, 1);
      call.Fill(TensorId::kIndices, 0);
      call.Run(GetParam());
      for (int64_t c = 0; c < kHeadDim; ++c) {
        EXPECT_EQ(call.Get(TensorId::kKCache, c), is_a(c) ? one.level_a : 0) << c;
      }
    }
  }
}

// Of three questions, every answer.
std::vector<std::array<bool, 3>> Choices() {
  std::vector<std::array<bool, 3>> all;
  for (int i = 0; i < 8; ++i) all.push_back({(i & 1) != 0, (i & 2) != 0, (i & 4) != 0});
  return all;
}

// A pair that needs care in the midst of ones that need none, wherever it is in a head.
TEST_P(RotationTest, OnePairAtAnEdge) {
  constexpr int64_t kTokens = std::size(kPairs);
  for (const int64_t head_dim : {64, 80, 96, 128, 256, 512}) {
    const int64_t half = head_dim / 2;
    for (const int64_t at : {int64_t{0}, int64_t{13}, half - 17, half - 1}) {
      // Dot products are for k without offsets.
      for (const auto& [kv_output, streaming, offsets] : Choices()) {
        Spec spec = DenseSpec({.batch = kTokens,
                               .num_q_heads = 1,
                               .num_kv_heads = 1,
                               .head_dim = head_dim,
                               .cache_shape = {kTokens, 1},
                               .kv_output = kv_output,
                               .offsets = offsets});
        spec.target = GetParam();
        const Plan plan = MakeStreamingPlan(spec, streaming).value();
        Problem problem(spec, Flavour::kPlain, 1);
        FillWithPairs(problem, head_dim, at);
        auto* scale = static_cast<float*>(problem.MutableInput(TensorId::kScaleK));
        std::fill(scale, scale + head_dim, 0.3f);
        if (offsets) {
          auto* offset = static_cast<float*>(problem.MutableInput(TensorId::kOffsetK));
          std::fill(offset, offset + head_dim, 10.0f);
        }
        // So that the smallest of the differences are levels.
        scale[at] = scale[at + half] = 0x1.01p-35f;
        Coverage coverage;
        ASSERT_EQ(RunAndCompare(problem, plan, {.num_threads = 1}, &coverage), "")
            << "head_dim " << head_dim << ", pair " << at << ", kv_output " << kv_output
            << ", streaming " << streaming << ", offsets " << offsets;
        EXPECT_GT(coverage.changed_bytes, kTokens * head_dim);
        EXPECT_GT(coverage.nan, 0);
        EXPECT_GT(coverage.subnormal, 0);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RotationTest,
                         ::testing::ValuesIn(UsableTargets().begin(), UsableTargets().end()),
                         [](const auto& param) { return std::string(Name(param.param)); });

}  // namespace
}  // namespace ropekv::testing
