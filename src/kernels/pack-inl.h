// SPDX-License-Identifier: Apache-2.0
// Vectors; from f32 to i32, and from 32 bits to 16.
#if defined(ROPEKV_KERNELS_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_PACK_INL_H_
#undef ROPEKV_KERNELS_PACK_INL_H_
#else
#define ROPEKV_KERNELS_PACK_INL_H_
#endif

#include <array>
#include <cstddef>
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
// Whether instructions that pack and unpack work within blocks of 128 bits: of a and b they make
// four lanes of a, four of b, the next four of a ...
inline constexpr bool kPacksBlocks = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

// Which lane of two vectors, a and b, holds which of consecutive channels: lanes-inl.h.
enum class LaneOrder { kInOrder, kEvenOdd, kInBlocks };

// The upper 16 bits of each lane of a and b. Of vectors that are in order: as they are packed.
template <LaneOrder order, class DF>
HWY_INLINE auto PackUpper(DF, Int32<DF> a, Int32<DF> b) {
  const hn::Repartition<int16_t, DF> d16;
  if constexpr (order == LaneOrder::kEvenOdd) {
    return hn::OddEven(hn::BitCast(d16, b), hn::BitCast(d16, hn::ShiftRight<16>(a)));
  } else if constexpr (kPacksBlocks) {
    return hn::ReorderDemote2To(d16, hn::ShiftRight<16>(a), hn::ShiftRight<16>(b));
  } else {
    return hn::ConcatOdd(d16, hn::BitCast(d16, b), hn::BitCast(d16, a));
  }
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
// 16-bit lanes saturated to 8, as they are packed. Highway 1.0.3 has it for 128 bits only.
template <class V16>
HWY_INLINE auto PackBytes(V16 a, V16 b) {
  using V8 = hn::Vec<hn::Repartition<int8_t, FullVectors>>;
#if HWY_TARGET == HWY_AVX3
  return V8{_mm512_packs_epi16(a.raw, b.raw)};
#else
  return V8{_mm256_packs_epi16(a.raw, b.raw)};
#endif
}
#endif

// Blocks of 128 bits that hold a Group of each of some vectors: first all groups of the first
// vector, then those of the next.
template <class Group, class D>
HWY_INLINE hn::Vec<D> CollectGroups(D d, hn::Vec<D> blocks) {
  const hn::Repartition<Group, D> d_group;
  constexpr size_t kGroups = hn::MaxLanes(d_group), kVectors = 16 / sizeof(Group);
  alignas(64) static constexpr auto kOrder = [] {
    std::array<Group, kGroups> order{};
    constexpr size_t kBlocks = kGroups / kVectors;
    for (size_t i = 0; i < kGroups; ++i) {
      order[i] = static_cast<Group>(i % kBlocks * kVectors + i / kBlocks);
    }
    return order;
  }();
  return hn::BitCast(d, hn::TableLookupLanes(hn::BitCast(d_group, blocks),
                                             hn::SetTableIndices(d_group, kOrder.data())));
}
#endif

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_PACK_INL_H_
