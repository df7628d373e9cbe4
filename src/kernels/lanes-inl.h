// SPDX-License-Identifier: Apache-2.0
// Loads and stores of a step: `2 * Lanes(df)` consecutive channels in two vectors of f32, a and b.
// Only here is known which lane holds which channel:
//
//   kInOrder    a = 0 1 2 3, b = 4 5 6 7    everything but bf16 to bf16
//   kEvenOdd    a = 0 2 4 6, b = 1 3 5 7    bf16 to bf16: widened without a shuffle
//   kInBlocks   a = 0-3 8-11 16-19 24-27, b = 4-7 12-15 20-23 28-31
//                                           bf16 that dot products rotate, in 512 bits
//
// Two vectors rather than one, so that packing to 16 and 8 bits fills its registers.
#if defined(ROPEKV_KERNELS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_LANES_INL_H_
#undef ROPEKV_KERNELS_LANES_INL_H_
#else
#define ROPEKV_KERNELS_LANES_INL_H_
#endif

#include <type_traits>
#include <utility>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/call.h"
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

// Asks for `count` elements, into every cache.
template <class T>
HWY_INLINE void Prefetch(const T* from, int64_t count) {
  const char* first = reinterpret_cast<const char*>(from);
  const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(first + i, 0, 3);
}

template <LaneOrder order>
struct Lanes {
  // f32; in order, also the bits of a format.
  template <class DF, class T, class V = hn::Vec<hn::Rebind<T, DF>>>
  static HWY_INLINE void Load(DF, const T* from, V& a, V& b) {
    const hn::Rebind<T, DF> d;
    const V first = hn::LoadU(d, from), second = hn::LoadU(d, from + hn::Lanes(d));
    if constexpr (order == LaneOrder::kInOrder) {
      a = first;
      b = second;
    } else if constexpr (order == LaneOrder::kEvenOdd) {
      a = hn::ConcatEven(d, second, first);
      b = hn::ConcatOdd(d, second, first);
    } else {
#if HWY_TARGET == HWY_AVX3
      a = V{_mm512_shuffle_f32x4(first.raw, second.raw, _MM_SHUFFLE(2, 0, 2, 0))};
      b = V{_mm512_shuffle_f32x4(first.raw, second.raw, _MM_SHUFFLE(3, 1, 3, 1))};
#endif
    }
  }

  // Widened from a format: out of order, from bf16, whose bits are the upper half of an f32's.
  template <class Format, class DF>
  static HWY_INLINE void Read(DF df, const typename Format::T* from, Float32<DF>& a,
                              Float32<DF>& b) {
    if constexpr (order == LaneOrder::kInOrder) {
      hn::Vec<hn::Rebind<typename Format::T, DF>> bits_a, bits_b;
      Load(df, from, bits_a, bits_b);
      a = Format::ToF32(df, bits_a);
      b = Format::ToF32(df, bits_b);
    } else {
      const hn::Repartition<uint16_t, DF> d;
      const hn::RebindToUnsigned<DF> du;
      auto bits = hn::LoadU(d, from);
#if HWY_ARCH_X86
      // Else g++ loads twice, and far from the caches both loads wait: 8 % of a call's time.
      asm("" : "+v"(bits.raw));
#endif
      if constexpr (order == LaneOrder::kEvenOdd) {
        a = hn::BitCast(df, hn::ShiftLeft<16>(hn::BitCast(du, bits)));
        b = hn::BitCast(df, hn::And(hn::BitCast(du, bits), hn::Set(du, 0xFFFF0000u)));
      } else {
        a = hn::BitCast(df, hn::InterleaveLower(d, hn::Zero(d), bits));
        b = hn::BitCast(df, hn::InterleaveUpper(d, hn::Zero(d), bits));
      }
    }
  }

  // Rounded to a format.
  template <class Format, Stores stores, class DF>
  static HWY_INLINE void Write(DF df, Float32<DF> a, Float32<DF> b, typename Format::T* to,
                               typename Format::template Check<DF>& check) {
    if constexpr (Format::kPacksPairs) {
      const hn::Repartition<uint16_t, DF> d;
      StoreVector<stores>(Format::template FromF32Pair<order>(df, a, b, check), d, to);
    } else {
      const hn::Rebind<typename Format::T, DF> d;
      StoreVector<stores>(Format::FromF32(df, a), d, to);
      StoreVector<stores>(Format::FromF32(df, b), d, to + hn::Lanes(d));
    }
  }

  // Quantised values of a step, lo_a and lo_b at lo, hi_a and hi_b at hi: the upper 16 bits of each
  // lane, saturated to int8. Where blocks are packed, both halves of the step at once.
  template <Stores stores, class DF, class VI = Int32<DF>>
  static HWY_INLINE void StoreInt8(DF df, VI lo_a, VI lo_b, VI hi_a, VI hi_b, int8_t* lo,
                                   int8_t* hi) {
    const auto lo_words = PackUpper<order>(df, lo_a, lo_b);
    const auto hi_words = PackUpper<order>(df, hi_a, hi_b);
    const hn::Repartition<int8_t, DF> d8;
    const hn::Half<decltype(d8)> d;
    if constexpr (kPacksBlocks) {
      using Group = std::conditional_t<order == LaneOrder::kInOrder, uint32_t, uint64_t>;
      const auto bytes = CollectGroups<Group>(d8, PackBytes(lo_words, hi_words));
      StoreVector<stores>(hn::LowerHalf(d, bytes), d, lo);
      StoreVector<stores>(hn::UpperHalf(d, bytes), d, hi);
    } else {
      StoreVector<stores>(hn::DemoteTo(d, lo_words), d, lo);
      StoreVector<stores>(hn::DemoteTo(d, hi_words), d, hi);
    }
  }
};

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
