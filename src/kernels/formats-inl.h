// SPDX-License-Identifier: Apache-2.0
// The floating-point formats: exact widening, and rounding to nearest even. T has their bits.
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
#include "kernels/pack-inl.h"
#include "ropekv/types.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_ARCH_X86
inline constexpr bool kHasF16Conversion = HWY_TARGET <= HWY_AVX2;  // F16C
#else
inline constexpr bool kHasF16Conversion = HWY_TARGET != HWY_SCALAR && HWY_ARCH_ARM_A64;
#endif

// A format rounds f32 values. Most do it right whatever the value is; one is right only for values
// in a range, which its Check collects: begun before a head, and asked at its end whether any value
// was outside.
struct AlwaysRight {
  template <class DF>
  struct Check {};
  template <class DF>
  static HWY_INLINE Check<DF> Begin(DF) {
    return {};
  }
  template <class DF>
  static HWY_INLINE bool Failed(DF, Check<DF>) {
    return false;
  }
};

// f16 by integer operations, for x86 without F16C. Calls: inlined they are half of a kernel's text.
template <class DF>
HWY_NOINLINE Float32<DF> WidenF16(DF df, Bits16<DF> half) {
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

template <class DF>
HWY_NOINLINE Bits16<DF> NarrowToF16(DF df, Float32<DF> value) {
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
  return hn::DemoteTo(hn::Rebind<uint16_t, DF>(), hn::BitCast(di, hn::Or(half, sign)));
}

struct FormatF16 : AlwaysRight {
  using T = uint16_t;
  // Each vector is stored as it is converted: putting two together costs more than a second store.
  static constexpr bool kPacksPairs = false;

  template <class DF>
  static HWY_INLINE Float32<DF> ToF32(DF df, Bits16<DF> half) {
    if constexpr (kHasF16Conversion) {
      return hn::PromoteTo(df, hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), half));
    } else {
      return WidenF16(df, half);
    }
  }

  template <class DF>
  static HWY_INLINE Bits16<DF> FromF32(DF df, Float32<DF> value) {
    if constexpr (kHasF16Conversion) {
      const hn::Rebind<uint16_t, DF> du16;
      return hn::BitCast(du16, hn::DemoteTo(hn::Rebind<hwy::float16_t, DF>(), value));
    } else {
      return NarrowToF16(df, value);
    }
  }
};

// kNumbersOnly: NaNs need no care. Those among values computed from bf16 alone end in 16 zero bits,
// inherited or made by the processor, which rounding leaves alone.
template <bool kNumbersOnly>
struct FormatBF16Base : AlwaysRight {
  using T = uint16_t;
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
  template <LaneOrder order, class DF>
  static HWY_INLINE auto FromF32Pair(DF df, Float32<DF> a, Float32<DF> b, const Check<DF>&) {
    const hn::Repartition<uint16_t, DF> d16;
    const auto packed = hn::BitCast(d16, PackUpper<order>(df, Round(df, a), Round(df, b)));
    if constexpr (kPacksBlocks && order == LaneOrder::kInOrder) {
      return CollectGroups<uint64_t>(d16, packed);
    } else {
      return packed;
    }
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
// Rounds 512-bit vectors by the instruction of AVX512_BF16. It takes subnormal numbers for zeros;
// its Check fails for all results outside 2^-63 to 2^65 (docs/numerics.md, lemma 2).
struct FormatNativeBF16 : FormatBF16 {
  using Bits = hn::Vec<hn::CappedTag<uint16_t, 32>>;
  // Bit 14 of each lane: all results so far were in range.
  template <class DF>
  using Check = Bits;

  template <class DF>
  static HWY_INLINE Bits Begin(DF) {
    return Bits{_mm512_set1_epi16(-1)};
  }
  template <class DF>
  static HWY_INLINE bool Failed(DF, Bits check) {
    return _mm512_testn_epi16_mask(check.raw, _mm512_set1_epi16(0x4000)) != 0;
  }

  template <LaneOrder order, class DF>
  static HWY_INLINE Bits FromF32Pair(DF, Float32<DF> a, Float32<DF> b, Bits& check) {
    __m512i bits;
    // Written out, because Highway's target, which this is compiled for, is without AVX512_BF16.
    asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(bits) : "v"(b.raw), "v"(a.raw));
    // The two upper bits of the exponent are 01 or 10 for what is in range; this adds 1 to them.
    check.raw = _mm512_and_si512(check.raw, _mm512_add_epi16(bits, _mm512_set1_epi16(0x2000)));
    if constexpr (order == LaneOrder::kInBlocks) {
      bits = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), bits);
    } else if constexpr (order == LaneOrder::kEvenOdd) {
      alignas(64) static constexpr auto kByTurns = [] {
        std::array<uint16_t, 32> lanes{};
        for (size_t i = 0; i < 32; ++i) lanes[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
        return lanes;
      }();
      bits = _mm512_permutexvar_epi16(_mm512_load_si512(kByTurns.data()), bits);
    }
    return Bits{bits};
  }
};
#endif

struct FormatF32 : AlwaysRight {
  using T = float;
  static constexpr bool kPacksPairs = false;
  template <class DF>
  static HWY_INLINE Float32<DF> ToF32(DF, Float32<DF> value) {
    return value;
  }
  template <class DF>
  static HWY_INLINE Float32<DF> FromF32(DF, Float32<DF> value) {
    return value;
  }
};

template <DType dtype>
struct FormatOf;
template <>
struct FormatOf<DType::kF32> : FormatF32 {};
template <>
struct FormatOf<DType::kF16> : FormatF16 {};
template <>
struct FormatOf<DType::kBF16> : FormatBF16 {};

// Calls use(format) for a floating-point dtype.
template <class Use>
HWY_INLINE void WithFormat(DType dtype, const Use& use) {
  switch (dtype) {
    case DType::kF16: return use(FormatF16());
    case DType::kBF16: return use(FormatBF16());
    default: return use(FormatF32());
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_FORMATS_INL_H_
