// SPDX-License-Identifier: Apache-2.0
// Both 16-bit formats exhaustively: every value in, and every rounding boundary out.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include "reference/number_formats.h"
#include "ropekv/ropekv.h"

namespace ropekv::testing {
namespace {

constexpr int64_t kHeadDim = 128;

// v = values (as x, or as weight_scale of i32 ones) rounded to `format`, by one target.
std::vector<uint16_t> RoundAll(Target target, DType x_dtype, DType out_dtype, const void* x,
                               const float* values, int64_t count) {
  Spec spec = DenseSpec({.num_kv_heads = count / kHeadDim,
                         .head_dim = kHeadDim,
                         .x_dtype = x_dtype,
                         .out_dtype = out_dtype,
                         .cache_shape = {1, 1},
                         .kv_output = true});
  spec.target = target;

  std::vector<uint16_t> angles(kHeadDim), k(count), v(count);
  std::vector<int8_t> k_cache(count), v_cache(count);
  const std::vector<float> scales(count, 1.0f);
  const int32_t index = 0;
  Args args;
  args.x = x;
  args.weight_scale = values;
  args.cos = args.sin = angles.data();
  args.k_cache = k_cache.data();
  args.v_cache = v_cache.data();
  args.indices = &index;
  args.scale_k = args.scale_v = scales.data();
  args.k = k.data();
  args.v = v.data();
  const Result<Plan> plan = MakePlan(spec);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  const Status status = Run(*plan, args);
  EXPECT_TRUE(status.ok()) << status.message();
  return v;
}

struct Format {
  DType dtype;
  reference::NumberFormat format;
};
const Format kFormats[] = {{DType::kF16, reference::kBinary16},
                           {DType::kBF16, reference::kBfloat16}};

bool IsNaN(const Format& format, uint16_t bits) {
  return (bits & 0x7FFFu) > format.format.infinity_bits();
}

// Widening and narrowing again gives every one of the 65,536 values back.
TEST(Rounding, EveryValueSurvives) {
  for (const Format& format : kFormats) {
    std::vector<uint16_t> x(2 * 65536);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint16_t>(i);
    for (const Target target : UsableTargets()) {
      const auto v = RoundAll(target, format.dtype, format.dtype, x.data(), nullptr, 65536);
      for (size_t i = 0; i < 65536; ++i) {
        // Channel i of v is x's channel 65536 + i, which is i again.
        if (IsNaN(format, x[i])) {
          ASSERT_TRUE(IsNaN(format, v[i])) << i;
        } else {
          ASSERT_EQ(v[i], x[i]) << Name(format.dtype) << " " << Name(target);
        }
      }
    }
  }
}

// Between each two neighbours of a format: the midpoint, and the floats just beside it.
TEST(Rounding, EveryBoundary) {
  for (const Format& format : kFormats) {
    std::vector<float> values;
    std::vector<uint16_t> expected;
    for (uint32_t low = 0; low < format.format.infinity_bits(); ++low) {
      const float a = reference::Decode(format.format, static_cast<uint16_t>(low));
      // Above the largest finite value the format would go on evenly.
      const bool top = low + 1 == format.format.infinity_bits();
      const float below =
          reference::Decode(format.format, static_cast<uint16_t>(low - (top ? 1 : 0)));
      const double gap = top ? static_cast<double>(a) - below
                             : static_cast<double>(reference::Decode(
                                   format.format, static_cast<uint16_t>(low + 1))) -
                                   a;
      const auto middle = static_cast<float>(a + gap / 2);
      const auto even = static_cast<uint16_t>(low + low % 2);
      for (const uint16_t sign : {uint16_t{0}, uint16_t{0x8000}}) {
        const float s = sign ? -1.0f : 1.0f;
        values.insert(values.end(), {s * std::nextafterf(middle, 0), s * middle,
                                     s * std::nextafterf(middle, INFINITY)});
        expected.insert(expected.end(),
                        {static_cast<uint16_t>(sign | low), static_cast<uint16_t>(sign | even),
                         static_cast<uint16_t>(sign | (low + 1))});
      }
    }
    ASSERT_GT(values.size(), 180000u);
    while (values.size() % kHeadDim != 0) {
      values.push_back(1.0f);
      expected.push_back(reference::Encode(format.format, 1.0f));
    }
    const auto count = static_cast<int64_t>(values.size());
    std::vector<float> weights(values);  // for k, then for v
    weights.insert(weights.end(), values.begin(), values.end());
    const std::vector<int32_t> ones(2 * values.size(), 1);
    for (const Target target : UsableTargets()) {
      const auto v =
          RoundAll(target, DType::kI32, format.dtype, ones.data(), weights.data(), count);
      for (size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(v[i], expected[i])
            << Name(format.dtype) << " " << Name(target) << " " << values[i];
        ASSERT_EQ(reference::Encode(format.format, values[i]), expected[i]) << values[i];
      }
    }
  }
}

}  // namespace
}  // namespace ropekv::testing
