// SPDX-License-Identifier: Apache-2.0
// The rotation, and where it rounds.
#if defined(ROPEKV_KERNELS_ROTARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROTARY_INL_H_
#undef ROPEKV_KERNELS_ROTARY_INL_H_
#else
#define ROPEKV_KERNELS_ROTARY_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/access-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/row.h"

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
// by every head. lo belongs to channels [0, h), hi to [h, 2h); they are independent.
struct Angles {
  static constexpr int64_t kMaxPairs = 256;
  HWY_ALIGN float cos_lo[kMaxPairs];
  HWY_ALIGN float cos_hi[kMaxPairs];
  HWY_ALIGN float sin_lo[kMaxPairs];
  HWY_ALIGN float sin_hi[kMaxPairs];
};

// The rotate-half pairing: lane i of a head turns with lane i + half.
template <class Round>
struct RotateHalf {
  template <class DF>
  static HWY_INLINE void Rotate(DF df, const Angles& angles, int64_t pair, Float32<DF>& lo,
                                Float32<DF>& hi) {
    const auto cos_lo = hn::LoadU(df, angles.cos_lo + pair);
    const auto cos_hi = hn::LoadU(df, angles.cos_hi + pair);
    const auto sin_lo = hn::LoadU(df, angles.sin_lo + pair);
    const auto sin_hi = hn::LoadU(df, angles.sin_hi + pair);
    const auto a = Round::Input(df, lo);
    const auto b = Round::Input(df, hi);
    lo = Round::Step(df, hn::Sub(Round::Step(df, hn::Mul(a, cos_lo)),
                                 Round::Step(df, hn::Mul(b, sin_lo))));
    hi = Round::Step(df, hn::Add(Round::Step(df, hn::Mul(b, cos_hi)),
                                 Round::Step(df, hn::Mul(a, sin_hi))));
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ROTARY_INL_H_
