// SPDX-License-Identifier: Apache-2.0
// What a variant's kernels are made of on a target.
#if defined(ROPEKV_KERNELS_VARIANT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_VARIANT_INL_H_
#undef ROPEKV_KERNELS_VARIANT_INL_H_
#else
#define ROPEKV_KERNELS_VARIANT_INL_H_
#endif

#include <type_traits>

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/dequantise-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/rotate-inl.h"

#if HWY_TARGET != HWY_SCALAR
namespace ropekv::internal::HWY_NAMESPACE {

// One variant on one target: which way is fast, beside the exact one.
template <DType source_t, DType output_t, Numerics numerics_t, NativeBF16 native_t,
          RotaryStyle style_t, bool any_dtypes_t, bool one_place_t = false>
struct Variant {
  static constexpr DType kSource = source_t;
  static constexpr DType kOutput = output_t;
  static constexpr RotaryStyle kStyle = style_t;
  using Reader = HWY_NAMESPACE::Reader<kSource>;
  using Round = Rounding<numerics_t, kSource>;
  using AnglesFormat = FormatOf<kOutput>;
  // Whether cos and sin may be f32 where the outputs are not, and caches of a third dtype. Products
  // with f32 are not exact.
  static constexpr bool kAnyDTypes = any_dtypes_t;
  static constexpr bool kAnyAngles = any_dtypes_t && kOutput != DType::kF32;
  static constexpr bool kBothBF16 =
      !kAnyAngles && kSource == DType::kBF16 && kOutput == DType::kBF16;
  // Whether channels that pass are bits that need not be changed: a NaN may be any.
  static constexpr bool kCopies = kSource == kOutput && kOutput != DType::kF32;
  using RoundedFormat = std::conditional_t<kBothBF16, FormatBF16Base<true>, FormatOf<kOutput>>;
  static constexpr bool kAscend = numerics_t == Numerics::kAscend;
  // Whether products are fused with the sum: docs/numerics.md, lemmas 1 and 5.
  static constexpr bool kFusedF16 = kSource == DType::kF16 && !kAnyAngles && !kAscend;
  static constexpr bool kFused = kFusedF16 || (kBothBF16 && native_t == NativeBF16::kRounding);
  // Which kernels have caches of a third dtype: those for heads of any size and, in the caches, for
  // those of 128, which are the most frequent.
  template <int64_t kPairs, Stores stores, bool kWholeHeads>
  static constexpr bool kOtherCaches =
      kAnyDTypes && !kWholeHeads &&
      (kPairs == 0 ||
       (kPairs == 64 && stores == Stores::kOrdinary && !kAscend && kStyle == RotaryStyle::kHalf));
  static constexpr int64_t kTile = kSource == DType::kI32 ? 4 : 1;

#if HWY_TARGET == HWY_AVX3
  static constexpr bool kDot = native_t == NativeBF16::kRoundingAndDot;
  using FastFormat =
      std::conditional_t<native_t == NativeBF16::kNothing, RoundedFormat, FormatNativeBF16>;
  template <int64_t kPairs>
  using Angles = std::conditional_t<kTile == 1 && kPairs != 0 && kPairs <= 64,
                                    AnglesInRegisters<kPairs>, AnglesInMemory>;
  template <int64_t kPairs>
  using Rotation = std::conditional_t<kDot, RotationByBF16Dot<Variant, kPairs>,
                                      RotationByF32<Variant, Angles<kPairs>, kPairs>>;
#else
  static constexpr bool kDot = false;
  using FastFormat = RoundedFormat;
  template <int64_t kPairs>
  using Rotation = RotationByF32<Variant, AnglesInMemory, kPairs>;
#endif
  // Half-split pairs of as many channels as a step has in one place: its first vector has the lower
  // ones, its second the upper ones. The other place is the same again.
  static constexpr bool kOnePlace = one_place_t;
  // Whether the two vectors of a place turn together.
  static constexpr bool kSplitsPairs =
      kOnePlace || (kStyle == RotaryStyle::kInterleaved && kBothBF16);
  // Of channels that are rotated, and of those that pass.
  template <bool kRotated>
  static constexpr LaneOrder kOrder = (kRotated && kDot && !kSplitsPairs) ? LaneOrder::kInBlocks
                                      : kBothBF16                         ? LaneOrder::kEvenOdd
                                                                          : LaneOrder::kInOrder;
  template <bool kRotated>
  using Order = Lanes<kOrder<kRotated>>;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
#endif  // HWY_TARGET != HWY_SCALAR

#endif  // ROPEKV_KERNELS_VARIANT_INL_H_
