// SPDX-License-Identifier: Apache-2.0
// The 16-bit floating-point formats: exact widening, and rounding to nearest even.
//
// Highway 1.0.3 cannot be asked for all of this: its bf16 demotion truncates everywhere, and
// without F16C its f16 demotion truncates too and its promotion turns inf and NaN into numbers.
#if defined(ROPEKV_KERNELS_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_FORMATS_INL_H_
#undef ROPEKV_KERNELS_FORMATS_INL_H_
#else
#define ROPEKV_KERNELS_FORMATS_INL_H_
#endif

#include "hwy/highway.h"
#include "ropekv/types.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class DF>
using Bits16 = hn::Vec<hn::Rebind<uint16_t, DF>>;
template <class DF>
using Int32 = hn::Vec<hn::RebindToSigned<DF>>;
template <class DF>
using Float32 = hn::Vec<DF>;

#if HWY_ARCH_X86
inline constexpr bool kHasF16Conversion = HWY_TARGET <= HWY_AVX2;  // F16C
#else
inline constexpr bool kHasF16Conversion = HWY_TARGET != HWY_SCALAR && HWY_ARCH_ARM_A64;
#endif

// Rounded to the nearest i32. What does not fit becomes the nearest i32 or has its lower half zero,
// a NaN the latter: what x86 and Arm give without the fix-up that Highway would add on x86.
template <class DF>
HWY_INLINE Int32<DF> ToInt(DF, Float32<DF> value) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
#if HWY_TARGET <= HWY_AVX3
  if constexpr (sizeof(value.raw) == 64) return Int32<DF>{_mm512_cvtps_epi32(value.raw)};
#endif
#if HWY_TARGET <= HWY_AVX2
  if constexpr (sizeof(value.raw) == 32) return Int32<DF>{_mm256_cvtps_epi32(value.raw)};
#endif
  if constexpr (sizeof(value.raw) == 16) return Int32<DF>{_mm_cvtps_epi32(value.raw)};
#else
  return hn::NearestInt(value);
#endif
}

// What a way of rounding that is always right keeps of its doubts.
struct Certain {};

#if HWY_TARGET != HWY_SCALAR
// Packs two vectors of i32 into one of narrower lanes, in order; the values must fit.
struct Pack {
  // To 16 bits.
  template <class DF, class VI = hn::Vec<hn::RebindToSigned<DF>>>
  static HWY_INLINE auto To16(DF df, VI a, VI b) {
    const hn::Repartition<int16_t, DF> d16;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
    return InOrder<uint64_t>(d16, hn::ReorderDemote2To(d16, a, b));
#else
    (void)df;
    const hn::Rebind<int16_t, DF> half;
    return hn::Combine(d16, hn::DemoteTo(half, b), hn::DemoteTo(half, a));
#endif
  }

  // The upper 16 bits of each lane, saturated to 8 bits.
  template <class DF>
  static HWY_INLINE auto UpperTo8(DF df, Int32<DF> a, Int32<DF> b) {
    const hn::Half<hn::Repartition<int8_t, DF>> d8;
    const hn::Repartition<int16_t, DF> d16;
#if HWY_TARGET == HWY_AVX2
    (void)df;
    return InOrder<uint32_t>(d8, hn::DemoteTo(d8, hn::ReorderDemote2To(d16, hn::ShiftRight<16>(a),
                                                                       hn::ShiftRight<16>(b))));
#else
    (void)df;
    return Narrow(d8, hn::ConcatOdd(d16, hn::BitCast(d16, b), hn::BitCast(d16, a)));
#endif
  }

  // The upper 16 bits of each lane, alternately of a and b.
  template <class DF>
  static HWY_INLINE auto UpperEvenOdd(DF, Int32<DF> a, Int32<DF> b) {
    const hn::Repartition<int16_t, DF> d16;
#if HWY_TARGET == HWY_AVX3
    // One operation, with a constant that widening needs too; OddEven would want a mask register.
    const hn::RebindToUnsigned<DF> du;
    return hn::BitCast(d16, hn::IfVecThenElse(hn::Set(du, 0xFFFF0000u), hn::BitCast(du, b),
                                              hn::ShiftRight<16>(hn::BitCast(du, a))));
#else
    return hn::OddEven(hn::BitCast(d16, b), hn::BitCast(d16, hn::ShiftRight<16>(a)));
#endif
  }

  // i16 to i8, saturated. In 512 bits Highway takes two instructions where there is one.
  template <class D8, class V16>
  static HWY_INLINE hn::Vec<D8> Narrow(D8 d8, V16 words) {
#if HWY_TARGET == HWY_AVX3
    if constexpr (sizeof(words.raw) == 64) return hn::Vec<D8>{_mm512_cvtsepi16_epi8(words.raw)};
#endif
    return hn::DemoteTo(d8, words);
  }

 private:
  // The one-instruction packing of x86 works within blocks of 128 bits: it gives four lanes of a,
  // four of b, the next four of a ... Group is as wide as four lanes.
  template <class Group, class D>
  static HWY_INLINE hn::Vec<D> InOrder(D d, hn::Vec<D> packed) {
    const hn::Repartition<Group, D> d_group;
    if constexpr (hn::MaxLanes(d_group) <= 2) {
      return packed;
    } else {
      alignas(64) static constexpr Group kOrder4[] = {0, 2, 1, 3};
      alignas(64) static constexpr Group kOrder8[] = {0, 2, 4, 6, 1, 3, 5, 7};
      const Group* order = hn::MaxLanes(d_group) == 4 ? kOrder4 : kOrder8;
      return hn::BitCast(d, hn::TableLookupLanes(hn::BitCast(d_group, packed),
                                                 hn::SetTableIndices(d_group, order)));
    }
  }
};
#endif

// Formats that round right whatever they are given.
struct SureFormat {
  template <class DF>
  using Doubt = Certain;

  template <class DF>
  static HWY_INLINE Certain NoDoubt(DF) {
    return {};
  }
  template <class DF>
  static HWY_INLINE bool InDoubt(DF, Certain) {
    return false;
  }
};

struct FormatF16 : SureFormat {
  // Each vector is stored as it is converted: putting two together costs more than a second store.
  static constexpr bool kPacksPairs = false;

  template <class DF>
  static HWY_INLINE Float32<DF> ToF32(DF df, Bits16<DF> half) {
    if constexpr (kHasF16Conversion) {
      return hn::PromoteTo(df, hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), half));
    } else {
      const hn::RebindToUnsigned<DF> du;
      const auto wide = hn::PromoteTo(du, half);
      const auto magnitude = hn::And(wide, hn::Set(du, 0x7FFFu));
      const auto sign = hn::ShiftLeft<16>(hn::Xor(wide, magnitude));
      // The exponent field moves from bias 15 to bias 127 by an exact multiplication, which also
      // normalises subnormals. Inf and NaN keep an all-ones exponent.
      const auto shifted = hn::ShiftLeft<13>(magnitude);
      const auto scaled = hn::BitCast(du, hn::Mul(hn::BitCast(df, shifted), hn::Set(df, 0x1p112f)));
      const auto special = hn::Gt(magnitude, hn::Set(du, 0x7BFFu));
      const auto value = hn::IfThenElse(special, hn::Or(shifted, hn::Set(du, 0x7F800000u)), scaled);
      return hn::BitCast(df, hn::Or(value, sign));
    }
  }

  template <class DF>
  static HWY_INLINE Bits16<DF> FromF32(DF df, Float32<DF> value) {
    const hn::Rebind<uint16_t, DF> du16;
    if constexpr (kHasF16Conversion) {
      return hn::BitCast(du16, hn::DemoteTo(hn::Rebind<hwy::float16_t, DF>(), value));
    } else {
      const hn::RebindToUnsigned<DF> du;
      const hn::RebindToSigned<DF> di;
      const auto bits = hn::BitCast(du, value);
      const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFu));
      const auto sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
      // Normal: drop 13 mantissa bits, ties to even, and move the exponent's bias; a carry out of
      // the mantissa lands in the exponent as it should.
      const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1u));
      const auto rounded = hn::Add(magnitude, hn::Add(odd, hn::Set(du, 0xFFFu)));
      const auto normal = hn::Sub(hn::ShiftRight<13>(rounded), hn::Set(du, (127u - 15u) << 10));
      // Subnormal: 0.5f has an ulp of 2^-24, so adding it rounds to a multiple of that.
      const auto aligned = hn::Add(hn::BitCast(df, magnitude), hn::Set(df, 0.5f));
      const auto subnormal = hn::Sub(hn::BitCast(du, aligned), hn::Set(du, 0x3F000000u));
      const auto infinite = hn::Set(du, 0x7C00u);
      auto half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(du, 0x38800000u)), subnormal, normal);
      half = hn::IfThenElse(hn::Gt(magnitude, hn::Set(du, 0x477FEFFFu)), infinite, half);
      const auto is_nan = hn::Gt(magnitude, hn::Set(du, 0x7F800000u));
      half = hn::IfThenElse(is_nan, hn::Set(du, 0x7E00u), half);
      return hn::DemoteTo(du16, hn::BitCast(di, hn::Or(half, sign)));
    }
  }
};

// kNumbersOnly: NaNs need no care.
template <bool kNumbersOnly>
struct FormatBF16Base : SureFormat {
  static constexpr bool kPacksPairs = HWY_TARGET != HWY_SCALAR;

  template <class DF>
  static HWY_INLINE Float32<DF> ToF32(DF df, Bits16<DF> half) {
    return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(hn::RebindToUnsigned<DF>(), half)));
  }

  template <class DF>
  static HWY_INLINE Bits16<DF> FromF32(DF df, Float32<DF> value) {
    const auto low = hn::ShiftRight<16>(hn::BitCast(hn::RebindToUnsigned<DF>(), Round(df, value)));
    return hn::DemoteTo(hn::Rebind<uint16_t, DF>(), hn::BitCast(hn::RebindToSigned<DF>(), low));
  }

#if HWY_TARGET != HWY_SCALAR
  // a, then b.
  template <class DF>
  static HWY_INLINE auto FromF32Pair(DF df, Float32<DF> a, Float32<DF> b, Certain&) {
    // Arithmetic shifts, so that the signed packing, which saturates, finds what fits.
    const auto packed =
        Pack::To16(df, hn::ShiftRight<16>(Round(df, a)), hn::ShiftRight<16>(Round(df, b)));
    return hn::BitCast(hn::Repartition<uint16_t, DF>(), packed);
  }

  // Alternately of a and b.
  template <class DF>
  static HWY_INLINE auto FromF32EvenOdd(DF df, Float32<DF> a, Float32<DF> b, Certain&) {
    return hn::BitCast(hn::Repartition<uint16_t, DF>(),
                       Pack::UpperEvenOdd(df, Round(df, a), Round(df, b)));
  }
#endif

 private:
  // Rounded, in the upper half of each lane.
  template <class DF>
  static HWY_INLINE hn::Vec<hn::RebindToSigned<DF>> Round(DF, Float32<DF> value) {
    const hn::RebindToSigned<DF> di;
    const auto bits = hn::BitCast(di, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 1));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(di, 0x7FFF)));
    if constexpr (kNumbersOnly) return rounded;
    // Rounding could carry a NaN's payload away and leave inf or a number.
    const auto quiet = hn::Or(bits, hn::Set(di, 0x00400000));
    return hn::IfThenElse(hn::RebindMask(di, hn::IsNaN(value)), quiet, rounded);
  }
};

using FormatBF16 = FormatBF16Base<false>;

#if HWY_TARGET == HWY_AVX3
// Rounds 512-bit vectors by the instruction of AVX512_BF16: as FormatBF16 does, except that it
// takes subnormal numbers for zeros. So wherever a zero comes out, the result is in doubt.
struct FormatNativeBF16 : FormatBF16 {
  using Bits = hn::Vec<hn::CappedTag<uint16_t, 32>>;
  template <class DF>
  using Doubt = __mmask32;

  template <class DF>
  static HWY_INLINE __mmask32 NoDoubt(DF) {
    return 0;
  }
  template <class DF>
  static HWY_INLINE bool InDoubt(DF, __mmask32 doubt) {
    return doubt != 0;
  }

  template <class DF>
  static HWY_INLINE Bits FromF32Pair(DF, Float32<DF> a, Float32<DF> b, __mmask32& doubt) {
    __m512i bits;
    // Written out, because Highway's target, which this is compiled for, is without AVX512_BF16.
    asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(bits) : "v"(b.raw), "v"(a.raw));
    doubt |= _mm512_testn_epi16_mask(bits, _mm512_set1_epi16(0x7FFF));
    return Bits{bits};
  }

  template <class DF>
  static HWY_INLINE Bits FromF32EvenOdd(DF df, Float32<DF> a, Float32<DF> b, __mmask32& doubt) {
    alignas(64) static constexpr uint16_t kOrder[] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return Bits{
        _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), FromF32Pair(df, a, b, doubt).raw)};
  }
};
#endif

template <DType dtype>
struct FormatOf;
template <>
struct FormatOf<DType::kF16> : FormatF16 {};
template <>
struct FormatOf<DType::kBF16> : FormatBF16 {};

// The format of outputs made from x of dtype `source`. The NaNs among values computed from bf16
// alone end in 16 zero bits, inherited or made by the processor, which rounding leaves alone.
template <DType source, DType output>
struct OutputFormat : FormatOf<output> {};
template <>
struct OutputFormat<DType::kBF16, DType::kBF16> : FormatBF16Base<true> {};

// The quickest way to it, which may leave doubts, on a processor with (or without) AVX512_BF16.
template <DType source, DType output, bool kNativeBF16>
struct QuickFormatOf : OutputFormat<source, output> {};
#if HWY_TARGET == HWY_AVX3
template <DType source>
struct QuickFormatOf<source, DType::kBF16, true> : FormatNativeBF16 {};
#endif

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_FORMATS_INL_H_
