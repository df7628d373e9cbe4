// SPDX-License-Identifier: Apache-2.0
// The rotation, and where it rounds.
#if defined(ROPEKV_KERNELS_ROTARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROTARY_INL_H_
#undef ROPEKV_KERNELS_ROTARY_INL_H_
#else
#define ROPEKV_KERNELS_ROTARY_INL_H_
#endif

#include <algorithm>

#include "hwy/highway.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Rounding<numerics, source>::Input is applied to q and k before the rotation, Step to each product
// and sum.
template <Numerics numerics, DType source>
struct Rounding {
  template <class DF>
  static HWY_INLINE Float32<DF> Input(DF, Float32<DF> value) {
    return value;
  }
  template <class DF>
  static HWY_INLINE Float32<DF> Step(DF, Float32<DF> value) {
    return value;
  }
};

// Products and sums of f16 values, rounded to f32 and then to f16, are what f16 arithmetic gives:
// a product of two 11-bit significands is exact in f32, and a sum may be rounded twice because
// 24 >= 2 * 11 + 2.
template <DType source>
struct Rounding<Numerics::kAscend, source> {
  template <class DF>
  static HWY_INLINE Float32<DF> Input(DF df, Float32<DF> value) {
    if constexpr (source == DType::kF16) return value;
    return Step(df, value);
  }
  template <class DF>
  static HWY_INLINE Float32<DF> Step(DF df, Float32<DF> value) {
    return FormatF16::ToF32(df, FormatF16::FromF32(df, value));
  }
};

// cos and sin of a few tokens as f32, for pairs [first, first + count) of a head: converted once,
// used by every head. A token's follow each other as they are used: for each step of pairs
//
//   cos_lo | sin_lo | cos_hi | sin_hi      each a step of lanes
//
// where lo belongs to channels [0, h), hi to [h, 2h); they are independent.
class Angles {
 public:
  // How many tokens fit, of at most `wanted`.
  template <class DF>
  static int64_t Tokens(DF df, int64_t count, int64_t wanted) {
    return std::min(wanted, kRoom / TokenRoom(df, count));
  }

  // As token number `slot` of them, pairs [first, first + count) of a token of the call.
  template <class Lanes, class Format, class DF>
  HWY_INLINE void Load(DF df, int64_t slot, const RowCall& call, int64_t token, int64_t first,
                       int64_t count) {
    const auto cos = Skip<Lanes>(RowOf<uint16_t>(call.cos, token, 0), first);
    const auto sin = Skip<Lanes>(RowOf<uint16_t>(call.sin, token, 0), first);
    const int64_t half = call.head_dim / 2;
    float* to = data_ + slot * TokenRoom(df, count);
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    ForSteps<Lanes>(df, count, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
      const auto convert = [&](Row<const uint16_t> row, int64_t table) ROPEKV_INLINE_LAMBDA {
        Float32<DF> a, b;
        Lanes::template LoadHalf<Format>(df, row, lane, count, a, b);
        hn::Store(a, df, to + 4 * position + 2 * table * lanes);
        hn::Store(b, df, to + 4 * position + (2 * table + 1) * lanes);
      };
      convert(cos, 0);
      convert(sin, 1);
      convert(Skip<Lanes>(cos, half), 2);
      convert(Skip<Lanes>(sin, half), 3);
    });
  }

  const float* First() const { return data_; }

  // From one token's to the next one's.
  template <class DF>
  static int64_t TokenRoom(DF df, int64_t count) {
    const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(df));
    return 4 * ((count + step - 1) / step * step);
  }

 private:
  // Enough for 4 tokens of the longest block, and for 16 of 64 pairs.
  static constexpr int64_t kRoom = 4 * 4 * (kMaxPairs + 2 * kMaxLanes);

  HWY_ALIGN float data_[kRoom];
};

// The rotate-half pairing: lane i of a head turns with lane i + half. The sums are left as f32; who
// takes them rounds them, to the output's format or by Round::Step.
//
// kExactProducts: a product is exact, so that rounding it and fusing it with the sum are the same.
template <class Round, bool kExactProducts>
struct RotateHalf {
  template <class DF, class V = Float32<DF>>
  static HWY_INLINE void Rotate(DF df, V cos_lo, V sin_lo, V cos_hi, V sin_hi, V& lo, V& hi) {
    const auto a = Round::Input(df, lo);
    const auto b = Round::Input(df, hi);
    if constexpr (kExactProducts) {
      lo = hn::MulSub(a, cos_lo, hn::Mul(b, sin_lo));
      hi = hn::MulAdd(b, cos_hi, hn::Mul(a, sin_hi));
    } else {
      lo = hn::Sub(Round::Step(df, hn::Mul(a, cos_lo)), Round::Step(df, hn::Mul(b, sin_lo)));
      hi = hn::Add(Round::Step(df, hn::Mul(b, cos_hi)), Round::Step(df, hn::Mul(a, sin_hi)));
    }
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ROTARY_INL_H_
