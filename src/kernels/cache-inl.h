// SPDX-License-Identifier: Apache-2.0
// Codecs: f32 values to int8 levels, saturate_int8(rint(value / scale + offset)). A level is in the
// upper 16 bits of a lane, still to be saturated. Both codecs give the same level where both give
// any.
#if defined(ROPEKV_KERNELS_CACHE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_CACHE_INL_H_
#undef ROPEKV_KERNELS_CACHE_INL_H_
#else
#define ROPEKV_KERNELS_CACHE_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// The rule itself, operation by operation.
struct DivisionCodec {
  // Turns a scale and an offset (-0.0, which changes nothing, for none) into what Level takes.
  template <class DF>
  static HWY_INLINE void Prepare(DF, Float32<DF>&, Float32<DF>&) {}

  template <class DF>
  static HWY_INLINE Int32<DF> Level(DF df, Float32<DF> value, Float32<DF> scale,
                                    Float32<DF> offset) {
    value = hn::Add(hn::Div(value, scale), offset);
    value = hn::IfThenZeroElse(hn::IsNaN(value), value);
    value = hn::Min(hn::Max(value, hn::Set(df, -128.0f)), hn::Set(df, 127.0f));
    // 1.5 * 2^23 has an ulp of 1: the sum with it is rounded to nearest even by the addition
    // itself, and its low 16 bits are the integer. Highway's NearestInt carries an overflow fix-up
    // that clamped values do not need.
    const hn::RebindToSigned<DF> di;
    return hn::ShiftLeft<16>(hn::BitCast(di, hn::Add(value, hn::Set(df, 12582912.0f))));
  }

  // Whether any of four vectors of levels may be wrong.
  template <class DF>
  static HWY_INLINE bool InDoubt(DF, Int32<DF>, Int32<DF>, Int32<DF>, Int32<DF>) {
    return false;
  }
};

// The same without a division: value * (1 / scale) + offset in fixed point, in units u = 2^-16,
// with half a level added for rounding:
//
//   int16: the level, still to be saturated | 16 bits: fraction
//
// This is off by less than 4u, if |offset| <= 126 and the level is one that int8 holds, so that
// |quotient| < 256. The rounding of the reciprocal contributes u, of the product (where it is not
// fused) u/2, of offset u/4, of the sum u/2, of the conversion u/2; and the rule's own quotient and
// sum are u/2 each from the exact ones. So a fraction of 4u or more from both ends proves the level
// right. The rest is in doubt, and DivisionCodec's: every tie, every NaN and infinity, and one lane
// in 8192 of ordinary data.
class ReciprocalCodec {
 public:
  // To the reciprocal, and the sum of the offset and half a level.
  template <class DF>
  static HWY_INLINE void Prepare(DF df, Float32<DF>& scale, Float32<DF>& offset) {
    const auto unit = hn::Set(df, 65536.0f);
    const auto reciprocal = hn::Div(hn::Set(df, 1.0f), scale);
    const auto size = hn::Abs(reciprocal);
    // No approximation, if infinite, or so small that a value which a fused rotation gives in place
    // of infinity (2^112 and more) might not be in doubt. A NaN leaves every lane to DivisionCodec.
    const auto usable =
        hn::And(hn::And(hn::Ge(size, hn::Set(df, 0x1p-64f)), hn::Le(size, hn::Set(df, 0x1p111f))),
                hn::Le(hn::Abs(offset), hn::Set(df, 126.0f)));
    const auto nan = hn::Set(df, std::numeric_limits<float>::quiet_NaN());
    scale = hn::IfThenElse(usable, hn::Mul(reciprocal, unit), nan);
    // kMargin too high on purpose, so that what is in doubt is [0, 2 * kMargin).
    offset = hn::Add(hn::Mul(offset, unit), hn::Set(df, 32768.0f + kMargin));
  }

  template <class DF>
  static HWY_INLINE Int32<DF> Level(DF df, Float32<DF> value, Float32<DF> reciprocal,
                                    Float32<DF> shift) {
    return ToInt(df, hn::MulAdd(value, reciprocal, shift));
  }

  template <class DF>
  static HWY_INLINE bool InDoubt(DF df, Int32<DF> a, Int32<DF> b, Int32<DF> c, Int32<DF> d) {
    // As 16-bit lanes, of which the levels take part and are ignored in the end.
    const hn::Repartition<uint16_t, DF> du16;
    const auto ab = hn::Min(hn::BitCast(du16, a), hn::BitCast(du16, b));
    const auto cd = hn::Min(hn::BitCast(du16, c), hn::BitCast(du16, d));
    const hn::RebindToSigned<decltype(df)> di;
    const auto least = hn::BitCast(di, hn::Min(ab, cd));
    const auto margins = hn::And(least, hn::Set(di, 0xFFFF & ~(2 * kMargin - 1)));
    return !hn::AllFalse(di, hn::Eq(margins, hn::Zero(di)));
  }

 private:
  static constexpr int kMargin = 4;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_CACHE_INL_H_
