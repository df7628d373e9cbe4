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

// For the body of a loop that is passed to a loop: g++ leaves a long one out of line, and its
// vectors then go through memory.
#undef ROPEKV_INLINE_LAMBDA
#define ROPEKV_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 512-bit vectors of f32. Longer SVE vectors are capped, because heads are short.
using FullVectors = hn::CappedTag<float, 16>;

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

struct InOrder {
  // Whether a and b have the two channels of interleaved pairs.
  static constexpr bool kSplitsPairs = HWY_TARGET == HWY_SCALAR;

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

  // Quantised values: the upper 16 bits of each lane, saturated to int8.
  template <Stores stores, class DF>
  static HWY_INLINE void StoreInt8(DF df, Int32<DF> a, Int32<DF> b, int8_t* to) {
#if HWY_TARGET == HWY_SCALAR
    const hn::Rebind<int8_t, DF> d;
    hn::StoreU(hn::DemoteTo(d, hn::ShiftRight<16>(a)), d, to);
    hn::StoreU(hn::DemoteTo(d, hn::ShiftRight<16>(b)), d, to + 1);
    (void)df;
#else
    const hn::Half<hn::Repartition<int8_t, DF>> d;
    StoreVector<stores>(Pack::UpperTo8(df, a, b), d, to);
#endif
  }
};

#if HWY_TARGET != HWY_SCALAR
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

  template <Stores stores, class DF>
  static HWY_INLINE void StoreInt8(DF df, Int32<DF> a, Int32<DF> b, int8_t* to) {
    const hn::Half<hn::Repartition<int8_t, DF>> d8;
    StoreVector<stores>(Pack::Narrow(d8, Pack::UpperEvenOdd(df, a, b)), d8, to);
  }
};
#endif

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

  template <Stores stores>
  static HWY_INLINE void StoreInt8(FullVectors, Int32<FullVectors> a, Int32<FullVectors> b,
                                   int8_t* to) {
    const hn::Half<hn::Repartition<int8_t, FullVectors>> d8;
    const __m512i words =
        _mm512_packs_epi32(_mm512_srai_epi32(a.raw, 16), _mm512_srai_epi32(b.raw, 16));
    StoreVector<stores>(hn::Vec<decltype(d8)>{_mm512_cvtsepi16_epi8(words)}, d8, to);
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

#endif  // ROPEKV_KERNELS_LANES_INL_H_
