// SPDX-License-Identifier: Apache-2.0
// The smallest call that shows everything: one token whose values a test writes down.
#ifndef ROPEKV_TESTS_SUPPORT_ONE_TOKEN_H_
#define ROPEKV_TESTS_SUPPORT_ONE_TOKEN_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "reference/number_formats.h"
#include "ropekv/ropekv.h"

namespace ropekv::testing {

// One token, one q head, one kv head. Channels [0, half) of a head hold `lo`, the rest `hi`. i32 x
// is 1 throughout unless set, so that weight_scale puts any f32 in.
struct Token {
  int64_t head_dim = 2;
  DType x_dtype = DType::kI32;
  DType out_dtype = DType::kF16;
  Numerics numerics = Numerics::kFloat32;
  float lo = 0, hi = 0;  // of q, k and v alike
  float cos_lo = 1, cos_hi = 1, sin_lo = 0, sin_hi = 0;
  float scale = 1;
  const float* offset = nullptr;
  int32_t accumulator = 1;
  const int32_t* int_bias = nullptr;
  const float* float_bias = nullptr;
  const float* activation_scale = nullptr;

  // What the first lanes of both halves became.
  struct Output {
    uint16_t q_lo, q_hi, v_lo;
    int k_lo, k_hi, v_level;
  };

  Output Run(Target target, bool by_reference) const {
    const int64_t half = head_dim / 2;
    const int64_t hidden = 3 * head_dim;
    const auto& format = out_dtype == DType::kF16 ? reference::kBinary16 : reference::kBfloat16;
    const auto two_halves = [&](int64_t count, float first, float second) {
      std::vector<float> row(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) row[i] = i % head_dim < half ? first : second;
      return row;
    };
    const auto encode = [&](const std::vector<float>& row) {
      std::vector<uint16_t> bits;
      for (const float value : row) bits.push_back(reference::Encode(format, value));
      return bits;
    };

    Spec spec = DenseSpec({.num_q_heads = 1,
                           .num_kv_heads = 1,
                           .head_dim = head_dim,
                           .x_dtype = x_dtype,
                           .out_dtype = out_dtype,
                           .cache_shape = {1, 1},
                           .kv_output = true,
                           .offsets = offset != nullptr,
                           .activation_scale = activation_scale != nullptr,
                           .bias_dtype = int_bias     ? DType::kI32
                                         : float_bias ? DType::kF32
                                                      : DType::kNone});
    spec.target = target;
    spec.numerics = numerics;

    const auto values = two_halves(hidden, lo, hi);
    const auto x16 = encode(values);
    const std::vector<int32_t> x32(static_cast<size_t>(hidden), accumulator);
    const auto cos = encode(two_halves(head_dim, cos_lo, cos_hi));
    const auto sin = encode(two_halves(head_dim, sin_lo, sin_hi));
    const std::vector<float> scales(static_cast<size_t>(head_dim), scale);
    const std::vector<float> offsets(static_cast<size_t>(head_dim), offset ? *offset : 0);
    const std::vector<int32_t> int_biases(static_cast<size_t>(hidden), int_bias ? *int_bias : 0);
    const std::vector<float> float_biases(static_cast<size_t>(hidden),
                                          float_bias ? *float_bias : 0);
    const int32_t index = 0;
    std::vector<uint16_t> q(static_cast<size_t>(head_dim)), k(q.size()), v(q.size());
    std::vector<int8_t> k_cache(q.size(), 99), v_cache(q.size(), 99);

    Args args;
    args.x = x_dtype == DType::kI32 ? static_cast<const void*>(x32.data()) : x16.data();
    args.cos = cos.data();
    args.sin = sin.data();
    args.k_cache = k_cache.data();
    args.v_cache = v_cache.data();
    args.indices = &index;
    args.scale_k = args.scale_v = scales.data();
    args.offset_k = args.offset_v = offsets.data();
    args.weight_scale = values.data();
    args.activation_scale = activation_scale;
    args.bias = int_bias ? static_cast<const void*>(int_biases.data()) : float_biases.data();
    args.q = q.data();
    args.k = k.data();
    args.v = v.data();
    const Result<Plan> plan = MakePlan(spec);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    const Status status = by_reference ? RunReference(*plan, args) : ropekv::Run(*plan, args);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(q, k);  // the same values, rotated alike
    for (int64_t i = 1; i < half; ++i) {
      EXPECT_EQ(k_cache[i], k_cache[0]);
      EXPECT_EQ(q[half + i], q[half]);
    }
    return {q[0], q[half], v[0], k_cache[0], k_cache[half], v_cache[0]};
  }
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_ONE_TOKEN_H_
