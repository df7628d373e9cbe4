// SPDX-License-Identifier: Apache-2.0
// The body of the translation unit of a source dtype, ROPEKV_SOURCE: compiles its variants for
// every target, and finds them again at run time. Has no include guard of its own: Highway includes
// it once per target.
// clang-format off
#include "kernels/targets.h"
#include "hwy/foreach_target.h"
// clang-format on

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/nest-inl.h"
#include "kernels/units.h"
#include "kernels/variants.h"

#define ROPEKV_CONCAT_INNER(a, b) a##b
#define ROPEKV_CONCAT(a, b) ROPEKV_CONCAT_INNER(a, b)

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

template <class V>
Kernel FindFor(int64_t, Reach) {
  return {.run = &ExactNest<V>, .step = 2, .exact = true};
}

#else

template <class V, int64_t kPairs, bool kAhead, Stores stores>
Kernel Describe() {
  using enum Rotation;
  return {.run = &Nest<V, kPairs, kAhead, stores>::Run,
          .prepare = &PrepareTables<typename V::Order, FullVectors>,
          .step = 2 * static_cast<int64_t>(hn::Lanes(FullVectors())),
          .unrolled_pairs = kPairs,
          .rotation = V::kDot     ? kBF16Dot
                      : V::kFused ? kFused
                                  : kExact,
          .streams = stores == Stores::kStreaming};
}

// Unrolled for the usual sizes of heads where there are 32 registers.
template <class V, bool kAhead, Stores stores>
Kernel FindUnrolled(int64_t head_dim) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (V::kBias == BiasKind::kF32OrNone) {
    constexpr bool kStreams = stores == Stores::kStreaming;
    if constexpr (kStreams || !kAhead) {  // beyond the caches these are streamed
      switch (head_dim) {
        case 64: return Describe<V, 32, kAhead, stores>();
        case 128: return Describe<V, 64, kAhead, stores>();
        case 256: return Describe<V, 128, kAhead, stores>();
        default: break;
      }
    }
    if constexpr (!kStreams) {  // and these cannot be
      if (head_dim == 96) return Describe<V, 48, kAhead, stores>();
    }
  }
#endif
  (void)head_dim;
  return Describe<V, 0, kAhead, stores>();
}

template <class V>
Kernel FindFor(int64_t head_dim, Reach reach) {
  if (reach == Reach::kInCaches) return FindUnrolled<V, false, Stores::kOrdinary>(head_dim);
  if constexpr (HWY_ARCH_X86) {  // what Highway streams elsewhere is an ordinary store
    const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(FullVectors()));
    const bool whole_lines = head_dim % kLineBytes == 0 && head_dim % (2 * step) == 0;
    if (reach == Reach::kWholeLines && whole_lines) {
      return FindUnrolled<V, true, Stores::kStreaming>(head_dim);
    }
  }
  return FindUnrolled<V, true, Stores::kOrdinary>(head_dim);
}

#endif

template <DType source, DType output, Numerics numerics, bool native_bf16>
Kernel FindForBias(BiasKind bias, int64_t head_dim, Reach reach) {
  using enum BiasKind;
  if constexpr (source == DType::kI32) {
    if (bias == kAny) {
      return FindFor<Variant<source, output, numerics, native_bf16, kAny>>(head_dim, reach);
    }
  }
  return FindFor<Variant<source, output, numerics, native_bf16, kF32OrNone>>(head_dim, reach);
}

template <bool native_bf16>
Kernel Find(DType output, Numerics numerics, BiasKind bias, int64_t head_dim, Reach reach) {
  Kernel kernel;
#define ROPEKV_FIND(SOURCE, OUTPUT, NUMERICS)                                        \
  if (output == DType::OUTPUT && numerics == Numerics::NUMERICS) {                   \
    constexpr bool kNative = native_bf16 && DType::OUTPUT == DType::kBF16;           \
    kernel = FindForBias<DType::SOURCE, DType::OUTPUT, Numerics::NUMERICS, kNative>( \
        bias, head_dim, reach);                                                      \
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
  case Target::target: return choose(Find<native>);
    ROPEKV_TARGETS(ROPEKV_TARGET_CASE)
#undef ROPEKV_TARGET_CASE
    default: return nullptr;
  }
}

}  // namespace ropekv::internal
#endif  // HWY_ONCE
