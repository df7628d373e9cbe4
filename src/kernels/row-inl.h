// SPDX-License-Identifier: Apache-2.0
// The kernel for a call: in which order its tokens, heads and pairs are gone through, with which
// vectors and stores.
#if defined(ROPEKV_KERNELS_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROW_INL_H_
#undef ROPEKV_KERNELS_ROW_INL_H_
#else
#define ROPEKV_KERNELS_ROW_INL_H_
#endif

#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/by_step-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/in_order-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/row.h"
#include "kernels/step-inl.h"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

using FullVectors = hn::CappedTag<float, kMaxLanes>;

// Streaming stores are for rows of whole lines, and of few enough for tiles of whole heads.
template <class DF>
bool MayStream(DF df, const RowCall& call) {
  constexpr int64_t kLine = 64;
  const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(df));
  if (call.head_dim > 2 * kMaxPairs || call.head_dim % kLine != 0 || call.head_dim % (2 * step)) {
    return false;
  }
  intptr_t bits = call.k_cache.head_stride | call.v_cache.head_stride;
  for (const RowOutput& out : {call.q, call.k, call.v}) {
    bits |= reinterpret_cast<intptr_t>(out.data) | 2 * out.token_stride | 2 * out.head_stride;
  }
  for (int64_t t = 0; t < call.num_tokens; ++t) {
    bits |= reinterpret_cast<intptr_t>(call.k_cache.rows[t]) |
            reinterpret_cast<intptr_t>(call.v_cache.rows[t]);
  }
  return bits % kLine == 0;
}

template <DType source, DType output, Numerics numerics, class Lanes, class QuickFormat, class DF>
void RunTokens(const RowCall& call) {
  constexpr bool kBothBF16 = source == DType::kBF16 && output == DType::kBF16;
  using L = std::conditional_t<kBothBF16 && Lanes::kDense, EvenOddLanes, Lanes>;
  using V = Variant<source, output, numerics, L, QuickFormat>;
  // A head of whole lines is never too short for full vectors.
  if constexpr (Lanes::kDense && hn::MaxLanes(DF()) == hn::MaxLanes(FullVectors())) {
    if (call.beyond_caches && MayStream(DF(), call)) {
      if constexpr (V::kHasReciprocals && source != DType::kI32) {
        InOrderKernel<V, DF>::Run(call);
      } else {
        TileKernel<V, Stores::kStreaming, DF>::template Run<true>(call);
      }
      return hwy::FlushStream();
    }
  }
  if constexpr (V::kHasReciprocals) {
    if (ByStepKernel<V, DF>::Takes(call)) return ByStepKernel<V, DF>::Run(call);
  }
  TileKernel<V, Stores::kOrdinary, DF>::template Run<true>(call);
}

// Full vectors if a half head holds a step of them, else vectors of 4 lanes, the smallest that
// every target has.
template <DType source, DType output, Numerics numerics, class Lanes, bool kNativeBF16>
void Rows(const RowCall& call) {
  using Full = FullVectors;
  using Small = hn::CappedTag<float, kMinHalfHead / 2>;
  if (call.head_dim / 2 >= 2 * static_cast<int64_t>(hn::Lanes(Full()))) {
    using Format = QuickFormatOf<source, output, kNativeBF16>;
    RunTokens<source, output, numerics, Lanes, Format, Full>(call);
  } else {
    using Format = QuickFormatOf<source, output, false>;
    RunTokens<source, output, numerics, Lanes, Format, Small>(call);
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ROW_INL_H_
