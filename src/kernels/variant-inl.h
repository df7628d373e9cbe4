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

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// One variant on one target: which way is fast, beside the exact one.
template <DType source_t, DType output_t, Numerics numerics_t, bool native_bf16,
          RotaryStyle style_t, DTypes dtypes_t>
struct Variant {
  static constexpr DType kSource = source_t;
  static constexpr DType kOutput = output_t;
  static constexpr RotaryStyle kStyle = style_t;
  static constexpr bool kUsual = dtypes_t == DTypes::kUsual;
  using Reader = HWY_NAMESPACE::Reader<kSource, dtypes_t>;
  using Round = Rounding<numerics_t, kSource>;
  using AnglesFormat = FormatOf<kOutput>;
  static constexpr bool kAnyAngles = !kUsual && kOutput != DType::kF32;
  static constexpr bool kBothBF16 = kUsual && kSource == DType::kBF16 && kOutput == DType::kBF16;
  // What ExactHead is made for: one serves both kinds of dtypes.
  using Exact = Variant<source_t, output_t, numerics_t, false, style_t, DTypes::kAny>;
  using RoundedFormat = std::conditional_t<kBothBF16, FormatBF16Base<true>, FormatOf<kOutput>>;
  static constexpr bool kFused =
      kUsual && kSource == DType::kF16 && numerics_t == Numerics::kFloat32;
  static constexpr int64_t kTile = kSource == DType::kI32 ? 4 : 1;

#if HWY_TARGET == HWY_AVX3
  static constexpr bool kDot = native_bf16 && kBothBF16;
  using FastFormat =
      std::conditional_t<native_bf16 && kOutput == DType::kBF16, FormatNativeBF16, RoundedFormat>;
  using Order = std::conditional_t<
      !kBothBF16, InOrder,
      std::conditional_t<kDot && kStyle == RotaryStyle::kHalf, Unpacked, EvenOdd>>;
  template <int64_t kPairs>
  static constexpr bool kInRegisters = kTile == 1 && kPairs != 0 && kPairs <= 64;
  template <int64_t kPairs>
  using Rotation = std::conditional_t<
      kDot, RotationByBF16Dot<Variant, kPairs>,
      std::conditional_t<
          kInRegisters<kPairs>,
          RotationByF32<Variant, AnglesInRegisters<kInRegisters<kPairs> ? kPairs : 32>,
                        kInRegisters<kPairs> ? kPairs : 0>,
          RotationByF32<Variant, AnglesInMemory, 0>>>;
#elif HWY_TARGET != HWY_SCALAR
  static constexpr bool kDot = false;
  using FastFormat = RoundedFormat;
  using Order = std::conditional_t<kBothBF16, EvenOdd, InOrder>;
  template <int64_t kPairs>
  using Rotation = RotationByF32<Variant, AnglesInMemory, 0>;
#endif
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_VARIANT_INL_H_
