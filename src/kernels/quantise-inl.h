// SPDX-License-Identifier: Apache-2.0
// f32 values to int8: saturate_int8(rint(value / scale + offset)). What is made is a fixed-point
// number in 32 bits, of which the upper 16 are the integer, still to be saturated.
#if defined(ROPEKV_KERNELS_QUANTISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_QUANTISE_INL_H_
#undef ROPEKV_KERNELS_QUANTISE_INL_H_
#else
#define ROPEKV_KERNELS_QUANTISE_INL_H_
#endif

#include <cstddef>
#include <limits>

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/exact-inl.h"
#include "kernels/lanes-inl.h"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Without a division: value * (1 / scale) + offset in units of 2^-16, with half an int8
// step added for rounding. Where the fraction is nearly 0 this may be wrong: its Check fails, and
// the head is done again by division (docs/numerics.md, lemma 6). That is for every tie, NaN and
// infinity, and for one value in 16384 of ordinary data, or in 8192 with offsets.
template <class DF>
struct QuantiseByReciprocal {
  // The least fraction so far, in the lower 16 bits of each 32.
  using Check = hn::Vec<hn::Repartition<uint16_t, DF>>;

  static HWY_INLINE Check Begin() { return hn::Set(hn::Repartition<uint16_t, DF>(), 0xFFFF); }

  static HWY_INLINE Int32<DF> Quantise(Float32<DF> value, Float32<DF> reciprocal,
                                       Float32<DF> shift) {
    return ToInt(DF(), hn::MulAdd(value, reciprocal, shift));
  }

  static HWY_INLINE Check Add(Check least, Int32<DF> a, Int32<DF> b, Int32<DF> c, Int32<DF> d) {
    const hn::Repartition<uint16_t, DF> du16;
    const auto ab = hn::Min(hn::BitCast(du16, a), hn::BitCast(du16, b));
    const auto cd = hn::Min(hn::BitCast(du16, c), hn::BitCast(du16, d));
    return hn::Min(least, hn::Min(ab, cd));
  }

  static HWY_INLINE bool Failed(Check least, int margin) {
    const hn::RebindToSigned<DF> di;
    const auto fraction = hn::And(hn::BitCast(di, least), hn::Set(di, 0xFFFF & ~(2 * margin - 1)));
    return !hn::AllFalse(di, hn::Eq(fraction, hn::Zero(di)));
  }

  // What Quantise takes. A NaN where there is no approximation: it fails every Check.
  static HWY_INLINE Float32<DF> Reciprocal(Float32<DF> scale) {
    const DF df;
    const auto reciprocal = hn::Div(hn::Set(df, 1.0f), scale);
    const auto size = hn::Abs(reciprocal);
    const auto usable =
        hn::And(hn::Ge(size, hn::Set(df, 0x1p-64f)), hn::Le(size, hn::Set(df, 0x1p44f)));
    return OrNaN(usable, hn::Mul(reciprocal, hn::Set(df, 65536.0f)));
  }
  static HWY_INLINE Float32<DF> Shift(Float32<DF> offset, int margin) {
    const DF df;
    const auto usable = hn::Le(hn::Abs(offset), hn::Set(df, 126.0f));
    // `margin` too high on purpose, so that the fractions in doubt are [0, 2 * margin).
    const float half = 32768.0f + static_cast<float>(margin);
    return OrNaN(usable, hn::Add(hn::Mul(offset, hn::Set(df, 65536.0f)), hn::Set(df, half)));
  }

  // By how many units a result may be off.
  static HWY_INLINE int Margin(const ScaleView& offset) {
    constexpr bool kFuses = !HWY_ARCH_X86 || HWY_TARGET <= HWY_AVX2;
    return kFuses && offset.data == nullptr ? 2 : 4;
  }

 private:
  static HWY_INLINE Float32<DF> OrNaN(hn::Mask<DF> usable, Float32<DF> value) {
    return hn::IfThenElse(usable, value, hn::Set(DF(), std::numeric_limits<float>::quiet_NaN()));
  }
};

// Tables of these, for each head and each of its steps:
//
//   lo_a | lo_b | hi_a | hi_b      each a vector, its lanes in the Order of the kernel
//
// Without offsets all shifts are the same, and the table has those of one step.
template <LaneOrder order>
void PrepareTables(const PartCall& part) {
  using DF = FullVectors;
  using Fast = QuantiseByReciprocal<DF>;
  const DF df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const auto fill = [&](const ScaleView& view, float* table, const auto& prepare) HWY_ATTR {
    for (int64_t head = 0; head < part.num_heads; ++head) {
      float room[kMaxHeadDim];
      const float* const values = SideBySide(view, head, part.channels, room);
      ForSteps<0>(df, part.half, [&](int64_t, int64_t pair) ROPEKV_INLINE_LAMBDA {
        for (const int64_t channel : {pair, part.channels - part.half + pair}) {
          Float32<DF> a, b;
          Lanes<order>::Load(df, values + channel, a, b);
          hn::StoreU(prepare(a), df, table);
          hn::StoreU(prepare(b), df, table + lanes);
          table += 2 * lanes;
        }
      });
    }
  };
  fill(part.scale, part.tables.reciprocals,
       [](Float32<DF> scale) ROPEKV_INLINE_LAMBDA { return Fast::Reciprocal(scale); });
  const int margin = Fast::Margin(part.offset);
  if (part.offset.data) {
    fill(part.offset, part.tables.shifts,
         [=](Float32<DF> offset) ROPEKV_INLINE_LAMBDA { return Fast::Shift(offset, margin); });
  } else {
    for (int64_t i = 0; i < 4; ++i) {
      hn::StoreU(Fast::Shift(hn::Zero(df), margin), df, part.tables.shifts + i * lanes);
    }
  }
}

// In exact.cc, once for each target.
extern template void PrepareTables<LaneOrder::kInOrder>(const PartCall&);
extern template void PrepareTables<LaneOrder::kEvenOdd>(const PartCall&);
extern template void PrepareTables<LaneOrder::kInBlocks>(const PartCall&);

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET != HWY_SCALAR

#endif  // ROPEKV_KERNELS_QUANTISE_INL_H_
