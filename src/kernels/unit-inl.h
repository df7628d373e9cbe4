// SPDX-License-Identifier: Apache-2.0
// The body of the translation unit of a source dtype, ROPEKV_SOURCE: compiles its variants for
// every target, and finds them again at run time. Has no include guard of its own: Highway includes
// it once per target.
// clang-format off
#include "kernels/targets.h"
#include "hwy/foreach_target.h"
// clang-format on

#include <algorithm>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/exact-inl.h"
#include "kernels/nest-inl.h"
#include "kernels/units.h"
#include "kernels/variants.h"

#define ROPEKV_CONCAT_INNER(a, b) a##b
#define ROPEKV_CONCAT(a, b) ROPEKV_CONCAT_INNER(a, b)

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

template <DType source, DType output, Numerics numerics, NativeBF16 native, RotaryStyle style>
Kernel FindForDTypes(const KernelTraits&) {
  return {.run = &RunExactly, .step = 1, .least_rotary_dim = 2, .exact = true};
}

#else

template <class V>
void Prepare(const PartCall& part) {
  if (part.rotated) return PrepareTables<V::template kOrder<true> >(part);
  PrepareTables<V::template kOrder<false> >(part);
}

template <class V, int64_t kPairs, Stores stores, bool kWholeHeads = false>
Kernel Describe() {
  using enum Rotation;
  const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(FullVectors()));
  const bool two_places = V::kStyle == RotaryStyle::kHalf && !V::kOnePlace;
  return {.run = &Nest<V, kPairs, stores, kWholeHeads>::Run,
          .prepare = &Prepare<V>,
          .step = step,
          .least_rotary_dim = two_places ? 2 * step : step,
          .unrolled_pairs = kPairs,
          .rotation = V::kDot     ? kBF16Dot
                      : V::kFused ? kFused
                                  : kExact,
          .streams = stores == Stores::kStreaming,
          .whole_heads = kWholeHeads};
}

// Unrolled for the usual sizes of heads where there are 32 registers.
template <class V, Stores stores>
Kernel FindUnrolled(const KernelTraits& traits) {
#if HWY_TARGET == HWY_AVX3
  constexpr bool kStreams = stores == Stores::kStreaming;
  constexpr bool kReads32Bits = sizeof(typename V::Reader::T) == 4;
  constexpr bool kHalf = V::kStyle == RotaryStyle::kHalf;
  // Beyond the caches it gains only where there is least to read and to compute.
  constexpr bool kPays = !kStreams || (kHalf && !kReads32Bits);
#ifndef ROPEKV_FEWER_KERNELS
  // With caches of a third dtype, or f32 angles, there is no other for them.
  if constexpr (V::template kOtherCaches<64, stores, false>) {
    if (traits.rotary_dim == 128 && !traits.ahead) return Describe<V, 64, stores>();
  }
#endif
  if constexpr (kPays && (kReads32Bits || !V::kAnyDTypes)) {
    if (!traits.other_caches && kStreams == traits.ahead) {
      if (traits.rotary_dim == 64 && traits.head_dim != 64) return Describe<V, 32, stores, true>();
#ifndef ROPEKV_FEWER_KERNELS
      // Streamed rows are whole lines, which those of 96 are not; and memory is what takes the time
      // of long ones.
      constexpr int64_t k96 = kHalf && !kStreams ? 48 : 0;
      constexpr int64_t k256 = k96 != 0 && !V::kAscend ? 128 : 0;
      switch (traits.rotary_dim) {
        case 64: return Describe<V, 32, stores>();
        case 96: return Describe<V, k96, stores>();
        case 128: return Describe<V, 64, stores>();
        case 256: return Describe<V, k256, stores>();
        default: break;
      }
#endif
    }
  }
#endif
  (void)traits;
  return Describe<V, 0, stores>();
}

template <class V>
Kernel FindFor(const KernelTraits& traits) {
  // What Highway streams on Arm is an ordinary store, and a second set of kernels for processors of
  // before 2013 is not worth its size.
  if constexpr (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2) {
    const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(FullVectors()));
    bool whole_lines = traits.whole_lines;
    for (const int64_t channels : {traits.rotary_dim, traits.head_dim}) {
      whole_lines = whole_lines && channels % kLineBytes == 0 && channels % (2 * step) == 0;
    }
    if (whole_lines) return FindUnrolled<V, Stores::kStreaming>(traits);
  }
  return FindUnrolled<V, Stores::kOrdinary>(traits);
}

// What of it such a variant uses. Those that use the same are one.
constexpr NativeBF16 Useful(NativeBF16 native, DType source, DType output, bool any_dtypes) {
  if (output != DType::kBF16) return NativeBF16::kNothing;
  const bool dot = source == DType::kBF16 && !any_dtypes;
  return dot ? native : std::min(native, NativeBF16::kRounding);
}

template <DType source, DType output, Numerics numerics, NativeBF16 native, RotaryStyle style>
Kernel FindForDTypes(const KernelTraits& traits) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (style == RotaryStyle::kHalf) {
    // 32 channels of longer heads: with dtypes of any kind, since few models have them.
    if (traits.rotary_dim == 32 && traits.head_dim != 32 && !traits.other_caches) {
      constexpr NativeBF16 kNative = Useful(native, source, output, true);
      using V = Variant<source, output, numerics, kNative, style, true, true>;
      return Describe<V, 0, Stores::kOrdinary, true>();
    }
  }
#endif
  const auto find = [&](auto any_dtypes) {
    constexpr bool kAny = decltype(any_dtypes)::value;
    constexpr NativeBF16 kNative = Useful(native, source, output, kAny);
    // Dot products are right for k without offsets only: docs/numerics.md, lemma 4.
    if (traits.k_offsets) {
      constexpr NativeBF16 kNoDot = std::min(kNative, NativeBF16::kRounding);
      return FindFor<Variant<source, output, numerics, kNoDot, style, kAny> >(traits);
    }
    return FindFor<Variant<source, output, numerics, kNative, style, kAny> >(traits);
  };
  // Floating-point x of 16 bits is faster where its products are exact.
  constexpr bool kAnyAlways = source == DType::kI32 || source == DType::kF32;
  if (traits.wide_angles || traits.other_caches) return find(std::true_type());
  return find(std::bool_constant<kAnyAlways>());
}

#endif

template <NativeBF16 native>
Kernel Find(const KernelTraits& traits) {
  using enum RotaryStyle;
  Kernel kernel;
#define ROPEKV_FIND(SOURCE, OUTPUT, NUMERICS)                                                      \
  if (traits.output == DType::OUTPUT && traits.numerics == Numerics::NUMERICS) {                   \
    kernel = traits.style == kHalf                                                                 \
                 ? FindForDTypes<DType::SOURCE, DType::OUTPUT, Numerics::NUMERICS, native, kHalf>( \
                       traits)                                                                     \
                 : FindForDTypes<DType::SOURCE, DType::OUTPUT, Numerics::NUMERICS, native,         \
                                 kInterleaved>(traits);                                            \
  }
  ROPEKV_CONCAT(ROPEKV_VARIANTS_OF_, ROPEKV_SOURCE)
  (ROPEKV_FIND)
#undef ROPEKV_FIND
      return kernel;
}

}  // namespace
}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropekv::internal {

FindInUnit* ROPEKV_CONCAT(UnitOf_, ROPEKV_SOURCE)(Target target) {
  switch (target) {
#define ROPEKV_TARGET_CASE(target, name, bit, choose, native) \
  case Target::target: return choose(Find<NativeBF16::native>);
    ROPEKV_TARGETS(ROPEKV_TARGET_CASE)
#undef ROPEKV_TARGET_CASE
    default: return nullptr;
  }
}

}  // namespace ropekv::internal
#endif  // HWY_ONCE
