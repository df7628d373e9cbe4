// SPDX-License-Identifier: Apache-2.0
// Codecs: f32 values of one head to int8 cache lanes, saturate_int8(rint(value / scale + offset))
// per channel. Both give the same bytes where both give any.
#if defined(ROPEKV_KERNELS_CACHE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_CACHE_INL_H_
#undef ROPEKV_KERNELS_CACHE_INL_H_
#else
#define ROPEKV_KERNELS_CACHE_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// The rule itself, operation by operation.
template <class Lanes, Stores stores>
struct DivisionCodec {
  // Of the first of the pairs that are to be stored; offset.data may be null. The other channel of a
  // pair is `half` further.
  Row<const float> scale;
  Row<const float> offset;
  int64_t half;

  // Never in doubt.
  struct Certain {};
  template <class DF>
  static HWY_INLINE Certain NoDoubt(DF) {
    return {};
  }
  template <class DF>
  static HWY_INLINE bool InDoubt(DF, Certain) {
    return false;
  }

  // Stores lanes of the first (part 0) or the second half of a head (part 1), of which `row` is that
  // part's row in the cache.
  template <int part, class DF>
  HWY_INLINE void Store(DF df, Float32<DF> a, Float32<DF> b, Row<int8_t> row, int64_t /*position*/,
                        int64_t lane, int64_t n, Certain) const {
    Float32<DF> scale_a, scale_b;
    Lanes::Load(df, Skip<Lanes>(scale, part * half), lane, n, scale_a, scale_b);
    a = hn::Div(a, scale_a);
    b = hn::Div(b, scale_b);
    if (offset.data) {
      Float32<DF> offset_a, offset_b;
      Lanes::Load(df, Skip<Lanes>(offset, part * half), lane, n, offset_a, offset_b);
      a = hn::Add(a, offset_a);
      b = hn::Add(b, offset_b);
    }
    Lanes::template StoreLevels<stores>(df, Level(df, a), Level(df, b), row, lane, n);
  }

 private:
  // 1.5 * 2^23 has an ulp of 1: the sum with it is rounded to nearest even by the addition itself,
  // and its low 16 bits are the integer. Highway's NearestInt is inexact on the scalar target
  // (0.49999997 becomes 1) and carries an overflow fix-up elsewhere that clamped values do not
  // need.
  template <class DF>
  static HWY_INLINE Int32<DF> Level(DF df, Float32<DF> value) {
    value = hn::IfThenZeroElse(hn::IsNaN(value), value);
    value = hn::Min(hn::Max(value, hn::Set(df, -128.0f)), hn::Set(df, 127.0f));
    const hn::RebindToSigned<DF> di;
    return hn::ShiftLeft<16>(hn::BitCast(di, hn::Add(value, hn::Set(df, 12582912.0f))));
  }
};

// The same without a division: value * (1 / scale) + offset in fixed point, in units u = 2^-16, with
// half a level added for rounding:
//
//   int16: the level, still to be saturated | 16 bits: fraction
//
// This is off by less than 4u, if |offset| <= 126 and the level is one that int8 holds, so that
// |quotient| < 256. The rounding of the reciprocal contributes u, of the product (where it is not
// fused) u/2, of offset u/4, of the sum u/2, of the conversion u/2; and the rule's own quotient and
// sum are u/2 each from the exact ones. So a fraction of 4u or more from both ends proves the level
// right. The rest is in doubt, and DivisionCodec's: every tie, every NaN and infinity, and one lane
// in 8192 of ordinary data.
template <class Lanes, Stores stores>
class ReciprocalCodec {
  template <class DF>
  using Doubt = hn::Vec<hn::Repartition<uint16_t, DF>>;

 public:
  template <class DF>
  static HWY_INLINE Doubt<DF> NoDoubt(DF) {
    return hn::Set(hn::Repartition<uint16_t, DF>(), 0xFFFFu);
  }
  template <class DF>
  static HWY_INLINE bool InDoubt(DF, Doubt<DF> doubt) {
    const hn::RebindToUnsigned<DF> du;
    const auto fraction = hn::And(hn::BitCast(du, doubt), hn::Set(du, 0xFFFFu));
    return !hn::AllFalse(du, hn::Lt(fraction, hn::Set(du, 2u * kMargin)));
  }

  // For the first `pairs` pairs of `params`.
  template <class DF>
  HWY_INLINE void Prepare(DF df, const DivisionCodec<Lanes, stores>& params, int64_t pairs) {
    PreparePart(df, params.scale, params.offset, pairs, 0);
    PreparePart(df, Skip<Lanes>(params.scale, params.half), Skip<Lanes>(params.offset, params.half), pairs, kRoom);
  }

  // `doubt` begins as NoDoubt; if a level may be wrong, it will be InDoubt.
  template <int part, class DF>
  HWY_INLINE void Store(DF df, Float32<DF> a, Float32<DF> b, Row<int8_t> row, int64_t position,
                        int64_t lane, int64_t n, Doubt<DF>& doubt) const {
    position += part * kRoom;
    const auto level_a = Level(df, a, position, doubt);
    const auto level_b = Level(df, b, position + static_cast<int64_t>(hn::Lanes(df)), doubt);
    Lanes::template StoreLevels<stores>(df, level_a, level_b, row, lane, n);
  }

 private:
  static constexpr int64_t kRoom = kMaxPairs + 2 * kMaxLanes;
  static constexpr int kMargin = 4;

  template <class DF>
  HWY_INLINE Int32<DF> Level(DF df, Float32<DF> value, int64_t position, Doubt<DF>& doubt) const {
    const auto fixed = ToInt(df, hn::MulAdd(value, hn::Load(df, reciprocal_ + position),
                                            hn::Load(df, shift_ + position)));
    // The upper 16 bits of each lane take part and are ignored in the end.
    doubt = hn::Min(doubt, hn::BitCast(hn::Repartition<uint16_t, DF>(), fixed));
    return fixed;
  }

  template <class DF>
  HWY_INLINE void PreparePart(DF df, Row<const float> scale, Row<const float> offset, int64_t count,
                              int64_t position) {
    const auto store = [&](Float32<DF> divisor, Float32<DF> addend, int64_t to) ROPEKV_INLINE_LAMBDA {
      const auto reciprocal = hn::Div(hn::Set(df, 1.0f), divisor);
      const auto size = hn::Abs(reciprocal);
      // No approximation, if subnormal or infinite: a NaN leaves every lane to DivisionCodec.
      const auto usable = hn::And(hn::And(hn::Ge(size, hn::Set(df, 0x1p-126f)),
                                          hn::Le(size, hn::Set(df, 0x1p111f))),
                                  hn::Le(hn::Abs(addend), hn::Set(df, 126.0f)));
      const auto unit = hn::Set(df, 65536.0f);
      const auto nan = hn::Set(df, std::numeric_limits<float>::quiet_NaN());
      hn::Store(hn::IfThenElse(usable, hn::Mul(reciprocal, unit), nan), df, reciprocal_ + to);
      // The sum is kMargin too high on purpose, so that what is in doubt is [0, 2 * kMargin).
      hn::Store(hn::Add(hn::Mul(addend, unit), hn::Set(df, 32768.0f + kMargin)), df, shift_ + to);
    };
    ForSteps<Lanes>(df, count, [&](int64_t step, int64_t lane) ROPEKV_INLINE_LAMBDA {
      Float32<DF> scale_a, scale_b;
      Lanes::Load(df, scale, lane, count, scale_a, scale_b);
      auto offset_a = hn::Zero(df);
      auto offset_b = hn::Zero(df);
      if (offset.data) Lanes::Load(df, offset, lane, count, offset_a, offset_b);
      store(scale_a, offset_a, position + step);
      store(scale_b, offset_b, position + step + static_cast<int64_t>(hn::Lanes(df)));
    });
  }

  HWY_ALIGN float reciprocal_[2 * kRoom];
  HWY_ALIGN float shift_[2 * kRoom];
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_CACHE_INL_H_
