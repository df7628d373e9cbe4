// SPDX-License-Identifier: Apache-2.0
// Loads and stores of a step: `2 * Lanes(df)` consecutive channels in two vectors of f32, a and b.
// Only here is known which lane holds which channel:
//
//   InOrder     a = 0 1 2 3, b = 4 5 6 7    everything but bf16 to bf16
//   EvenOdd     a = 0 2 4 6, b = 1 3 5 7    bf16 to bf16: widened without a shuffle
//   Unpacked    a = 0-3 8-11 16-19 24-27, b = 4-7 12-15 20-23 28-31
//                                           bf16 to bf16 by dot products, in 512 bits
//
// Two vectors rather than one, so that packing to 16 and 8 bits fills its registers.
#if defined(ROPEKV_KERNELS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_LANES_INL_H_
#undef ROPEKV_KERNELS_LANES_INL_H_
#else
#define ROPEKV_KERNELS_LANES_INL_H_
#endif

#include <utility>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/formats-inl.h"
#include "kernels/pack-inl.h"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

enum class Stores {
  kOrdinary,
  kStreaming,  // past the caches: the line is not read first. Of whole lines only
};

template <Stores stores, class D, class T = hn::TFromD<D>>
HWY_INLINE void StoreVector(hn::Vec<D> value, D d, T* data) {
  // What Highway streams on x86 is 16 bytes at least.
  if constexpr (stores == Stores::kStreaming && sizeof(T) * hn::MaxLanes(d) >= 16) {
#if HWY_TARGET == HWY_AVX3
    if constexpr (sizeof(value.raw) == 64) {
      // A line in two: on Zen 4 a copy of memory is 8 % faster this way, and so is a call.
      const hn::Half<D> half;
      hn::Stream(hn::LowerHalf(half, value), half, data);
      hn::Stream(hn::UpperHalf(half, value), half, data + hn::Lanes(half));
      return;
    }
#endif
    hn::Stream(value, d, data);
  } else {
    hn::StoreU(value, d, data);
  }
}

#if HWY_TARGET == HWY_AVX3
// Saturates the 16-bit lanes of lo and hi to int8 and stores them. One packing for both halves of a
// step; `order` is where its groups of four bytes, which come from blocks of 128 bits, go.
template <Stores stores>
HWY_INLINE void StoreBytes(__m512i lo_words, __m512i hi_words, __m512i order, int8_t* lo,
                           int8_t* hi) {
  const hn::CappedTag<int8_t, 32> d;
  const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(lo_words, hi_words));
  StoreVector<stores>(hn::Vec<decltype(d)>{_mm512_castsi512_si256(bytes)}, d, lo);
  StoreVector<stores>(hn::Vec<decltype(d)>{_mm512_extracti64x4_epi64(bytes, 1)}, d, hi);
}

// Where groups of four are if those of lo and of hi lie by turns, two and two.
HWY_INLINE __m512i ByTwos() {
  return _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
}

// The upper halves of 32-bit lanes: four of a, four of b ...
HWY_INLINE __m512i UpperHalves(__m512i a, __m512i b) {
  return _mm512_packs_epi32(_mm512_srai_epi32(a, 16), _mm512_srai_epi32(b, 16));
}
#endif

struct InOrder {
  // Whether a and b have the two channels of interleaved pairs.
  static constexpr bool kSplitsPairs = false;

  // f32 or u32.
  template <class DF, class T, class V = hn::Vec<hn::Rebind<T, DF>>>
  static HWY_INLINE void Load(DF, const T* from, V& a, V& b) {
    const hn::Rebind<T, DF> d;
    a = hn::LoadU(d, from);
    b = hn::LoadU(d, from + hn::Lanes(d));
  }

  // Widened from a format.
  template <class Format, class DF>
  static HWY_INLINE void Read(DF df, const typename Format::T* from, Float32<DF>& a,
                              Float32<DF>& b) {
    hn::Vec<hn::Rebind<typename Format::T, DF>> bits_a, bits_b;
    Load(df, from, bits_a, bits_b);
    a = Format::ToF32(df, bits_a);
    b = Format::ToF32(df, bits_b);
  }

  // Rounded to a format.
  template <class Format, Stores stores, class DF>
  static HWY_INLINE void Write(DF df, Float32<DF> a, Float32<DF> b, typename Format::T* to,
                               typename Format::template Check<DF>& check) {
    if constexpr (Format::kPacksPairs) {
      const hn::Repartition<uint16_t, DF> d;
      StoreVector<stores>(Format::FromF32Pair(df, a, b, check), d, to);
    } else {
      const hn::Rebind<typename Format::T, DF> d;
      StoreVector<stores>(Format::FromF32(df, a), d, to);
      StoreVector<stores>(Format::FromF32(df, b), d, to + hn::Lanes(d));
    }
  }

  // Quantised values of a step, lo_a and lo_b at lo, hi_a and hi_b at hi: the upper 16 bits of each
  // lane, saturated to int8.
  template <Stores stores, class DF, class VI = Int32<DF>>
  static HWY_INLINE void StoreInt8(DF df, VI lo_a, VI lo_b, VI hi_a, VI hi_b, int8_t* lo,
                                   int8_t* hi) {
#if HWY_TARGET == HWY_AVX3
    (void)df;
    StoreBytes<stores>(UpperHalves(lo_a.raw, lo_b.raw), UpperHalves(hi_a.raw, hi_b.raw),
                       _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), lo,
                       hi);
#else
    const hn::Half<hn::Repartition<int8_t, DF>> d;
    StoreVector<stores>(Pack::UpperTo8(df, lo_a, lo_b), d, lo);
    StoreVector<stores>(Pack::UpperTo8(df, hi_a, hi_b), d, hi);
#endif
  }
};

// For bf16, whose bits are the upper half of an f32's: a 32-bit lane of two bf16 is widened by a
// shift for the even and a mask for the odd one, and put together again by a shift and a blend.
struct EvenOdd {
  static constexpr bool kSplitsPairs = true;

  template <class DF, class T, class V = hn::Vec<hn::Rebind<T, DF>>>
  static HWY_INLINE void Load(DF df, const T* from, V& a, V& b) {
    V first, second;
    InOrder::Load(df, from, first, second);
    const hn::Rebind<T, DF> d;
    a = hn::ConcatEven(d, second, first);
    b = hn::ConcatOdd(d, second, first);
  }

  template <class Format, class DF>
  static HWY_INLINE void Read(DF df, const typename Format::T* from, Float32<DF>& a,
                              Float32<DF>& b) {
    const hn::RebindToUnsigned<DF> du;
    const hn::Repartition<uint16_t, DF> du16;
    auto both = hn::BitCast(du, hn::LoadU(du16, from));
#if HWY_ARCH_X86
    // Else g++ loads twice, and far from the caches both loads wait: 8 % of a call's time.
    asm("" : "+v"(both.raw));
#endif
    a = hn::BitCast(df, hn::ShiftLeft<16>(both));
    b = hn::BitCast(df, hn::And(both, hn::Set(du, 0xFFFF0000u)));
  }

  template <class Format, Stores stores, class DF>
  static HWY_INLINE void Write(DF df, Float32<DF> a, Float32<DF> b, typename Format::T* to,
                               typename Format::template Check<DF>& check) {
    const hn::Repartition<uint16_t, DF> d;
    StoreVector<stores>(Format::FromF32EvenOdd(df, a, b, check), d, to);
  }

  template <Stores stores, class DF, class VI = Int32<DF>>
  static HWY_INLINE void StoreInt8(DF df, VI lo_a, VI lo_b, VI hi_a, VI hi_b, int8_t* lo,
                                   int8_t* hi) {
    const auto lo_words = Pack::UpperEvenOdd(df, lo_a, lo_b);
    const auto hi_words = Pack::UpperEvenOdd(df, hi_a, hi_b);
#if HWY_TARGET == HWY_AVX3
    StoreBytes<stores>(lo_words.raw, hi_words.raw, ByTwos(), lo, hi);
#else
    const hn::Half<hn::Repartition<int8_t, DF>> d;
    StoreVector<stores>(hn::DemoteTo(d, lo_words), d, lo);
    StoreVector<stores>(hn::DemoteTo(d, hi_words), d, hi);
#endif
  }
};

#if HWY_TARGET == HWY_AVX3
// What the unpack instructions give, which work within blocks of 128 bits.
struct Unpacked {
  static constexpr bool kSplitsPairs = false;
  using V = hn::Vec<FullVectors>;

  static HWY_INLINE void Load(FullVectors df, const float* from, V& a, V& b) {
    V first, second;
    InOrder::Load(df, from, first, second);
    a = V{_mm512_shuffle_f32x4(first.raw, second.raw, _MM_SHUFFLE(2, 0, 2, 0))};
    b = V{_mm512_shuffle_f32x4(first.raw, second.raw, _MM_SHUFFLE(3, 1, 3, 1))};
  }

  template <class Format>
  static HWY_INLINE void Read(FullVectors, const uint16_t* from, V& a, V& b) {
    const __m512i bits = _mm512_loadu_si512(from);
    a = V{_mm512_castsi512_ps(_mm512_unpacklo_epi16(_mm512_setzero_si512(), bits))};
    b = V{_mm512_castsi512_ps(_mm512_unpackhi_epi16(_mm512_setzero_si512(), bits))};
  }

  template <class Format, Stores stores>
  static HWY_INLINE void Write(FullVectors df, V a, V b, uint16_t* to,
                               typename Format::template Check<FullVectors>& check) {
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    const hn::Repartition<uint16_t, FullVectors> d;
    const auto bits = Format::FromF32Pair(df, a, b, check);
    StoreVector<stores>(hn::Vec<decltype(d)>{_mm512_permutexvar_epi64(order, bits.raw)}, d, to);
  }

  template <Stores stores, class VI = Int32<FullVectors>>
  static HWY_INLINE void StoreInt8(FullVectors, VI lo_a, VI lo_b, VI hi_a, VI hi_b, int8_t* lo,
                                   int8_t* hi) {
    StoreBytes<stores>(UpperHalves(lo_a.raw, lo_b.raw), UpperHalves(hi_a.raw, hi_b.raw), ByTwos(),
                       lo, hi);
  }
};
#endif

// Calls body(step, first) for each step of `pairs` pairs, `first` being its first pair: unrolled
// with constants if kPairs is not 0. Where a last step does not fit, it is pulled back to end at
// the last pair, and repeats pairs of the one before: no masks, nothing touched past the end, and
// the same bytes again, since inputs and outputs never overlap. The number of the step goes on, for
// tables that it must not share with its neighbour.
template <int64_t kPairs, class DF, class Body>
HWY_INLINE void ForSteps(DF df, int64_t pairs, const Body& body) {
  const int64_t size = 2 * static_cast<int64_t>(hn::Lanes(df));
  if constexpr (kPairs != 0) {
    constexpr int64_t kSize = 2 * static_cast<int64_t>(hn::MaxLanes(DF()));
    [&]<int64_t... step>(std::integer_sequence<int64_t, step...>) ROPEKV_INLINE_LAMBDA {
      (body(std::integral_constant<int64_t, step>(), HWY_MIN(step * kSize, kPairs - kSize)), ...);
    }
    (std::make_integer_sequence<int64_t, (kPairs + kSize - 1) / kSize>());
  } else {
    for (int64_t step = 0; step * size < pairs; ++step) {
      body(step, HWY_MIN(step * size, pairs - size));
    }
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET != HWY_SCALAR

#endif  // ROPEKV_KERNELS_LANES_INL_H_
