// SPDX-License-Identifier: Apache-2.0
// The rotation, and where it rounds.
#if defined(ROPEKV_KERNELS_ROTARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROTARY_INL_H_
#undef ROPEKV_KERNELS_ROTARY_INL_H_
#else
#define ROPEKV_KERNELS_ROTARY_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Rounding<numerics, source>::Input is applied to q and k before the rotation, Step to each product
// and sum. Mul and Add stay separate operations: a fused one would round once where the contract
// rounds twice.
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

// cos and sin of one token as f32, for pairs [first, first + count) of a head: converted once, used
// by every head. lo belongs to channels [0, h), hi to [h, 2h); they are independent. Kept in the
// order of steps, not of lanes.
struct Angles {
  static constexpr int64_t kMaxPairs = 256;
  static constexpr int64_t kRoom = kMaxPairs + 2 * kMaxLanes;
  HWY_ALIGN float cos_lo[kRoom];
  HWY_ALIGN float cos_hi[kRoom];
  HWY_ALIGN float sin_lo[kRoom];
  HWY_ALIGN float sin_hi[kRoom];

  template <class Lanes, class Format, class DF>
  HWY_INLINE void Load(DF df, Row<const uint16_t> cos, Row<const uint16_t> sin, int64_t half,
                       int64_t count) {
    ForSteps<Lanes>(df, count, [&](int64_t position, int64_t lane) HWY_ATTR {
      const auto convert = [&](Row<const uint16_t> row, float* to) HWY_ATTR {
        Float32<DF> a, b;
        Lanes::template LoadHalf<Format>(df, row, lane, count, a, b);
        hn::Store(a, df, to + position);
        hn::Store(b, df, to + position + hn::Lanes(df));
      };
      convert(cos, cos_lo);
      convert(From(cos, half), cos_hi);
      convert(sin, sin_lo);
      convert(From(sin, half), sin_hi);
    });
  }
};

// The rotate-half pairing: lane i of a head turns with lane i + half. The sums are left as f32; who
// takes them rounds them, to the output's format or by Round::Step.
template <class Round>
struct RotateHalf {
  template <class DF>
  static HWY_INLINE void Rotate(DF df, const Angles& angles, int64_t position, Float32<DF>& lo,
                                Float32<DF>& hi) {
    const auto cos_lo = hn::Load(df, angles.cos_lo + position);
    const auto cos_hi = hn::Load(df, angles.cos_hi + position);
    const auto sin_lo = hn::Load(df, angles.sin_lo + position);
    const auto sin_hi = hn::Load(df, angles.sin_hi + position);
    const auto a = Round::Input(df, lo);
    const auto b = Round::Input(df, hi);
    lo = hn::Sub(Round::Step(df, hn::Mul(a, cos_lo)), Round::Step(df, hn::Mul(b, sin_lo)));
    hi = hn::Add(Round::Step(df, hn::Mul(b, cos_hi)), Round::Step(df, hn::Mul(a, sin_hi)));
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ROTARY_INL_H_
