// SPDX-License-Identifier: Apache-2.0
// Quotients (with the offset, if there is one) at a half, within an ulp of it, and a little further
// off: any division but a correctly rounded one is found out, and so is a shortcut that misjudges
// where it can be trusted. Random values seldom come so near.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "reference/number_formats.h"
#include "ropekv/ropekv.h"
#include "support/float_call.h"
#include "support/rng.h"
#include "support/share.h"

namespace ropekv::testing {
namespace {

constexpr int64_t kHeads = 4, kDim = 64, kChannels = kHeads * kDim;

// k and v of all tokens: value (token, channel) is numerator * unit(channel), and the scale is such
// that nearly all quotients are nearly odd numbers of halves.
struct Halves {
  DType x_dtype = DType::kI32;
  int64_t tokens = 0;
  std::vector<int32_t> numerator;  // [tokens, channels]
  std::vector<float> unit;         // [channels]
  std::vector<float> scale;
  std::vector<float> offset;  // empty: none

  float value(int64_t token, int64_t channel) const {
    return static_cast<float>(numerator[token * kChannels + channel]) * unit[channel];
  }

  int expected(int64_t token, int64_t channel) const {
    float level = value(token, channel) / scale[channel];
    if (!offset.empty()) level = level + offset[channel];
    return static_cast<int8_t>(std::nearbyint(std::clamp(level, -128.0f, 127.0f)));
  }
};

Halves MakeHalves(Rng& rng, DType x_dtype, int64_t tokens, bool offsets) {
  const bool quantised = x_dtype == DType::kI32;
  Halves halves;
  halves.x_dtype = x_dtype;
  halves.tokens = tokens;
  std::vector<int64_t> half_step(kChannels, 1);
  for (int64_t c = 0; c < kChannels; ++c) {
    const int exponent = static_cast<int>(
        x_dtype == DType::kF16 ? rng.Int(-12, 4) : rng.Int(quantised ? -140 : -126, 80));
    // i32: the unit is the weight_scale, and a level has many units.
    // 16-bit: a value is the unit, or twice that, and the scale makes it an odd number of halves.
    const int64_t parts = quantised ? 1 << 23 : x_dtype == DType::kF16 ? 1 << 10 : 1 << 7;
    const auto significand = static_cast<float>(rng.Int(parts, 2 * parts - 1));
    halves.unit.push_back(std::ldexp(significand / static_cast<float>(parts), exponent));
    if (quantised) half_step[c] = rng.Int(1, 40000);
    float scale = quantised ? halves.unit[c] * static_cast<float>(2 * half_step[c])
                            : halves.unit[c] / (static_cast<float>(rng.Int(0, 127)) + 0.5f);
    for (int64_t ulps = rng.Int(-2, 2); ulps != 0; ulps += ulps < 0 ? 1 : -1) {
      scale = std::nextafterf(scale, ulps < 0 ? 0.0f : INFINITY);
    }
    halves.scale.push_back(rng.Chance(0.2) ? -scale : scale);
    if (offsets) {
      halves.offset.push_back(
          static_cast<float>(rng.Chance(0.5)   ? static_cast<double>(rng.Int(-260, 260)) / 2
                             : rng.Chance(0.8) ? rng.Real(-130, 130)
                                               : rng.Real(-3000, 3000)));  // far beyond int8
    }
  }
  for (int64_t i = 0; i < tokens * kChannels; ++i) {
    const int64_t c = i % kChannels;
    // Half of them a little further off, by up to about 2^-12.
    const int64_t off = rng.Chance(0.5) ? 0 : rng.Int(-12, 12);
    const double level = static_cast<double>(2 * rng.Int(-129, 128) + 1) / 2 -
                         (offsets ? static_cast<double>(halves.offset[c]) : 0);
    const auto steps = static_cast<int64_t>(level * static_cast<double>(2 * half_step[c]));
    halves.numerator.push_back(
        static_cast<int32_t>(quantised ? steps + off : rng.Pick<int64_t>({1, 1, -1, -1, 2})));
  }
  return halves;
}

void ExpectExact(const Halves& halves, Target target) {
  const bool quantised = halves.x_dtype == DType::kI32;
  const DType out = quantised ? DType::kBF16 : halves.x_dtype;
  const auto& format = out == DType::kF16 ? reference::kBinary16 : reference::kBfloat16;
  Spec spec = DenseSpec({.batch = halves.tokens,
                         .num_kv_heads = kHeads,
                         .head_dim = kDim,
                         .x_dtype = halves.x_dtype,
                         .out_dtype = out,
                         .cache_layout = CacheLayout::kPaged,
                         .cache_shape = {halves.tokens, 1},
                         .offsets = !halves.offset.empty()});
  spec.target = target;

  std::vector<float> weights(halves.unit);
  weights.insert(weights.end(), halves.unit.begin(), halves.unit.end());
  std::vector<int32_t> x32;
  std::vector<uint16_t> x16;
  std::vector<int32_t> slots;
  for (int64_t t = 0; t < halves.tokens; ++t) {
    slots.push_back(static_cast<int32_t>(t));
    for (int64_t c = 0; c < 2 * kChannels; ++c) {
      x32.push_back(halves.numerator[t * kChannels + c % kChannels]);
      x16.push_back(reference::Encode(format, halves.value(t, c % kChannels)));
    }
  }
  const std::vector<uint16_t> cos(halves.tokens * kDim, reference::Encode(format, 1.0f));
  const std::vector<uint16_t> sin(cos.size(), 0);
  std::vector<int8_t> k_cache(halves.tokens * kChannels, 99), v_cache(k_cache);
  Args args;
  args.x = quantised ? static_cast<const void*>(x32.data()) : x16.data();
  args.weight_scale = weights.data();
  args.cos = cos.data();
  args.sin = sin.data();
  args.k_cache = k_cache.data();
  args.v_cache = v_cache.data();
  args.indices = slots.data();
  args.scale_k = args.scale_v = halves.scale.data();
  args.offset_k = args.offset_v = halves.offset.data();
  const Result<Plan> plan = MakePlan(spec);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  const Status status = Run(*plan, args);
  ASSERT_TRUE(status.ok()) << status.message();
  for (int64_t t = 0; t < halves.tokens; ++t) {
    for (int64_t c = 0; c < kChannels; ++c) {
      const int expected = halves.expected(t, c);
      const int64_t at = t * kChannels + c;
      ASSERT_EQ(k_cache[at], expected) << halves.value(t, c) << " / " << halves.scale[c];
      ASSERT_EQ(v_cache[at], expected) << halves.value(t, c) << " / " << halves.scale[c];
    }
  }
}

class QuantiseTest : public ::testing::TestWithParam<std::tuple<DType, bool>> {};

TEST_P(QuantiseTest, QuotientsNearHalves) {
  const auto [x_dtype, offsets] = GetParam();
  Rng rng(3);
  int64_t quotients = 0;
  int64_t ties = 0;        // the level before rounding is a half
  int64_t reciprocal = 0;  // a product with the reciprocal would give another level
  for (const int64_t tokens : {1, 2, 5, 16, 150}) {
    for (int64_t round = 0; round < Share(40); ++round) {
      const Halves halves = MakeHalves(rng, x_dtype, tokens, offsets);
      for (const Target target : UsableTargets()) {
        SCOPED_TRACE(::testing::Message() << Name(target) << ", " << tokens << " tokens");
        ExpectExact(halves, target);
        if (HasFatalFailure()) return;
      }
      for (int64_t i = 0; i < tokens * kChannels; ++i) {
        const int64_t c = i % kChannels;
        const float value = halves.value(i / kChannels, c);
        const float offset = offsets ? halves.offset[c] : 0;
        const float level = value / halves.scale[c] + offset;
        const float shortcut = value * (1.0f / halves.scale[c]) + offset;
        ++quotients;
        ties += std::fabs(level - std::trunc(level)) == 0.5f;
        reciprocal += std::nearbyint(level) != std::nearbyint(shortcut);
      }
    }
  }
  EXPECT_GT(ties, quotients / 20);
  EXPECT_LT(ties, quotients);
  EXPECT_GT(reciprocal, quotients / 1000);
}

// The quotient is -1048564.5, and with the offset a tie: 12. A product with the reciprocal of 3 is
// 2047 units of 2^-16 off, more than any margin. All channels are alike, so that none is in doubt
// for another's sake.
TEST(Offsets, FarBeyondInt8) {
  for (const Target target : UsableTargets()) {
    FloatCall call({.num_q_heads = 1,
                    .num_kv_heads = 1,
                    .head_dim = 64,
                    .x_dtype = DType::kI32,
                    .cache_layout = CacheLayout::kPaged,
                    .cache_shape = {1, 1},
                    .offsets = true});
    call.Fill(TensorId::kX, -6291387);
    call.Fill(TensorId::kWeightScale, 0.5);
    call.Fill(TensorId::kCos, 1);
    call.Fill(TensorId::kSin, 0);
    for (const TensorId id : {TensorId::kScaleK, TensorId::kScaleV}) call.Fill(id, 3);
    for (const TensorId id : {TensorId::kOffsetK, TensorId::kOffsetV}) call.Fill(id, 1048576);
    call.Fill(TensorId::kIndices, 0);
    call.Run(target);
    for (const TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
      for (int64_t c = 0; c < 64; ++c) EXPECT_EQ(call.Get(id, c), 12) << Name(target);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, QuantiseTest,
                         ::testing::Combine(::testing::Values(DType::kI32, DType::kF16,
                                                              DType::kBF16),
                                            ::testing::Bool()),
                         [](const auto& param) {
                           return std::string(Name(std::get<0>(param.param))) +
                                  (std::get<1>(param.param) ? "_offsets" : "");
                         });

}  // namespace
}  // namespace ropekv::testing
