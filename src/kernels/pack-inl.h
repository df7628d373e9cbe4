// SPDX-License-Identifier: Apache-2.0
// Vectors; from f32 to i32, and from 32 bits to 16 and 8.
#if defined(ROPEKV_KERNELS_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_PACK_INL_H_
#undef ROPEKV_KERNELS_PACK_INL_H_
#else
#define ROPEKV_KERNELS_PACK_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

// For the body of a loop that is passed to a loop: g++ leaves a long one out of line, and its
// vectors then go through memory.
#undef ROPEKV_INLINE_LAMBDA
#define ROPEKV_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 512-bit vectors of f32. Longer SVE vectors are capped, because heads are short.
using FullVectors = hn::CappedTag<float, 16>;

template <class DF>
using Bits16 = hn::Vec<hn::Rebind<uint16_t, DF>>;
template <class DF>
using Int32 = hn::Vec<hn::RebindToSigned<DF>>;
template <class DF>
using Float32 = hn::Vec<DF>;

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
    return hn::DemoteTo(d8, hn::ConcatOdd(d16, hn::BitCast(d16, b), hn::BitCast(d16, a)));
#endif
  }

  // The upper 16 bits of each lane, alternately of a and b.
  template <class DF>
  static HWY_INLINE auto UpperEvenOdd(DF, Int32<DF> a, Int32<DF> b) {
    const hn::Repartition<int16_t, DF> d16;
    return hn::OddEven(hn::BitCast(d16, b), hn::BitCast(d16, hn::ShiftRight<16>(a)));
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

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_PACK_INL_H_
