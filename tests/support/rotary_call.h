// SPDX-License-Identifier: Apache-2.0
// Calls that rotate, small enough to be tried in every way.
#ifndef ROPEKV_TESTS_SUPPORT_ROTARY_CALL_H_
#define ROPEKV_TESTS_SUPPORT_ROTARY_CALL_H_

#include <cstdint>
#include <utility>

#include "support/float_call.h"

namespace ropekv::testing {

inline constexpr int64_t kBatch = 2, kSeq = 3, kTokens = 6;
inline constexpr int64_t kQHeads = 3, kKvHeads = 2, kHeads = kQHeads + 2 * kKvHeads;

// Heads of few channels and of many, rotated in part and wholly.
inline constexpr std::pair<int64_t, int64_t> kSizes[] = {
    {2, 2}, {16, 6}, {64, 64}, {80, 32}, {128, 64}, {128, 128}, {256, 64}, {514, 66}};
inline constexpr RotaryStyle kStyles[] = {RotaryStyle::kHalf, RotaryStyle::kInterleaved};

// f32 throughout: nothing is rounded but the products and sums.
inline Shape RotaryShape(std::pair<int64_t, int64_t> size, RotaryStyle style,
                         DType dtype = DType::kF32) {
  return {.batch = kBatch,
          .seq_len = kSeq,
          .num_q_heads = kQHeads,
          .num_kv_heads = kKvHeads,
          .head_dim = size.first,
          .x_dtype = dtype,
          .out_dtype = dtype,
          .cache_layout = CacheLayout::kPaged,
          .cache_shape = {3, 2},
          .cache_dtype = DType::kF32,
          .rotary_dim = size.second,
          .rotary_style = style,
          .kv_output = true};
}

// The channels of pair i.
struct Pair {
  int64_t a, b;
};
inline Pair PairOf(const Spec& spec, int64_t i) {
  if (spec.rotary_style == RotaryStyle::kInterleaved) return {2 * i, 2 * i + 1};
  return {i, i + spec.rotary_dim / 2};
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_ROTARY_CALL_H_
