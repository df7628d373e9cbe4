// SPDX-License-Identifier: Apache-2.0
// The fused body: for each token, one pass from x to q, k, v and the caches.
#if defined(ROPEKV_KERNELS_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROW_INL_H_
#undef ROPEKV_KERNELS_ROW_INL_H_
#else
#define ROPEKV_KERNELS_ROW_INL_H_
#endif

#include <algorithm>
#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/cache-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/rotary-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// One token. q goes through QLanes; k and v, whose scales lie in order, through KvLanes.
template <DType source, DType output, Numerics numerics, class QLanes, class KvLanes, class DF>
class TokenKernel {
  using Round = Rounding<numerics, source>;
  using Rotary = RotateHalf<Round>;
  using Format = OutputFormat<source, output>;
  using Vec = Float32<DF>;

 public:
  TokenKernel(const RowCall& call, int64_t token)
      : call_(call), token_(token), half_(call.head_dim / 2) {}

  template <Stores stores>
  HWY_INLINE void Run() const {
    // Long heads go in blocks of kMaxPairs, the last pulled back like a step.
    const int64_t count = std::min(half_, Angles::kMaxPairs);
    for (int64_t block = 0; block < half_; block += Angles::kMaxPairs) {
      const int64_t first = std::min(block, half_ - count);
      RotateQ<stores>(first, count);
      RotateK<stores>(first, count);
    }
    CopyV<stores>();
  }

 private:
  template <Stores stores>
  HWY_INLINE void RotateQ(int64_t first, int64_t count) const {
    Angles angles;
    LoadAngles<QLanes>(first, count, angles);
    for (int64_t head = 0; head < call_.num_q_heads; ++head) {
      const auto q = RowOf<uint16_t>(call_.q, token_, head);
      RotateHead<QLanes, stores>(
          angles, head, first, count, [&](Vec a, Vec b, int64_t lane, int64_t n) HWY_ATTR {
            QLanes::template StoreHalf<Format, stores>(DF(), a, b, q, lane, n);
          });
    }
  }

  template <Stores stores>
  HWY_INLINE void RotateK(int64_t first, int64_t count) const {
    int8_t* const row = call_.k_cache.rows[token_];
    if (row == nullptr && call_.k.data == nullptr) return;
    Angles angles;
    LoadAngles<KvLanes>(first, count, angles);
    for (int64_t head = 0; head < call_.num_kv_heads; ++head) {
      const auto k = RowOf<uint16_t>(call_.k, token_, head);
      const Int8Codec<KvLanes> cache(call_.scale_k, call_.offset_k, call_.k_cache, row, head);
      RotateHead<KvLanes, stores>(angles, call_.num_q_heads + head, first, count,
                                  [&](Vec a, Vec b, int64_t lane, int64_t n) HWY_ATTR {
                                    StoreIfWanted(a, b, k, lane, n);
                                    cache.Store(DF(), Round::Step(DF(), a), Round::Step(DF(), b),
                                                lane, n);
                                  });
    }
  }

  template <Stores stores>
  HWY_INLINE void CopyV() const {
    int8_t* const row = call_.v_cache.rows[token_];
    if (row == nullptr && call_.v.data == nullptr) return;
    const Source<source, KvLanes> token(call_, token_);
    const int64_t n = call_.head_dim;
    for (int64_t head = 0; head < call_.num_kv_heads; ++head) {
      const auto v = RowOf<uint16_t>(call_.v, token_, head);
      const Int8Codec<KvLanes> cache(call_.scale_v, call_.offset_v, call_.v_cache, row, head);
      const auto x = token.Channels((call_.num_q_heads + call_.num_kv_heads + head) * n);
      if (stores == Stores::kStreaming) x.Prefetch(n);
      ForSteps<KvLanes>(DF(), n, [&](int64_t, int64_t lane) HWY_ATTR {
        Vec a, b;
        x.Load(DF(), lane, n, a, b);
        StoreIfWanted(a, b, v, lane, n);
        cache.Store(DF(), a, b, lane, n);
      });
    }
  }

  static HWY_INLINE void StoreIfWanted(Vec a, Vec b, Row<uint16_t> row, int64_t lane, int64_t n) {
    if (row.data) KvLanes::template StoreHalf<Format, Stores::kOrdinary>(DF(), a, b, row, lane, n);
  }

  template <class Lanes>
  HWY_INLINE void LoadAngles(int64_t first, int64_t count, Angles& angles) const {
    angles.Load<Lanes, FormatOf<output>>(DF(), From(RowOf<uint16_t>(call_.cos, token_, 0), first),
                                         From(RowOf<uint16_t>(call_.sin, token_, 0), first), half_,
                                         count);
  }

  // Rotates pairs [first, first + count) of one head of x and hands both halves to
  // store(a, b, lane, end of the lanes).
  template <class Lanes, Stores stores, class StoreFn>
  HWY_INLINE void RotateHead(const Angles& angles, int64_t x_head, int64_t first, int64_t count,
                             const StoreFn& store) const {
    const Source<source, Lanes> token(call_, token_);
    const auto lo_half = token.Channels(x_head * call_.head_dim + first);
    const auto hi_half = lo_half.Channels(half_);
    if (stores == Stores::kStreaming) lo_half.Prefetch(call_.head_dim);
    ForSteps<Lanes>(DF(), count, [&](int64_t position, int64_t lane) HWY_ATTR {
      Vec lo_a, lo_b, hi_a, hi_b;
      lo_half.Load(DF(), lane, count, lo_a, lo_b);
      hi_half.Load(DF(), lane, count, hi_a, hi_b);
      Rotary::Rotate(DF(), angles, position, lo_a, hi_a);
      Rotary::Rotate(DF(), angles, position + static_cast<int64_t>(hn::Lanes(DF())), lo_b, hi_b);
      store(lo_a, lo_b, first + lane, first + count);
      store(hi_a, hi_b, half_ + first + lane, half_ + first + count);
    });
  }

  const RowCall& call_;
  int64_t token_;
  int64_t half_;
};

// Whether every step's store to this output starts at a multiple of its size.
template <class DF>
bool StepsAreAligned(DF df, const RowOutput& tensor, int64_t head_dim) {
  const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(df));
  const int64_t offsets =
      reinterpret_cast<intptr_t>(tensor.data) | 2 * tensor.token_stride | 2 * tensor.head_stride;
  return offsets % (2 * step) == 0 && head_dim / 2 % step == 0;
}

template <DType source, DType output, Numerics numerics, class Lanes, class DF>
void RunTokens(const RowCall& call) {
  constexpr bool kBothBF16 = source == DType::kBF16 && output == DType::kBF16;
  using QLanes = std::conditional_t<kBothBF16 && Lanes::kPullsBack, EvenOddLanes, Lanes>;
  using Kernel = TokenKernel<source, output, numerics, QLanes, Lanes, DF>;
  if constexpr (Lanes::kPullsBack) {
    if (call.beyond_caches && StepsAreAligned(DF(), call.q, call.head_dim)) {
      for (int64_t token = 0; token < call.num_tokens; ++token) {
        Kernel(call, token).template Run<Stores::kStreaming>();
      }
      return hwy::FlushStream();
    }
  }
  for (int64_t token = 0; token < call.num_tokens; ++token) {
    Kernel(call, token).template Run<Stores::kOrdinary>();
  }
}

// Full vectors if a half head holds a step of them, else vectors of 4 lanes, the smallest that
// every target has.
template <DType source, DType output, Numerics numerics, class Lanes>
void Rows(const RowCall& call) {
  using Full = hn::CappedTag<float, kMaxLanes>;
  using Small = hn::CappedTag<float, kMinHalfHead / 2>;
  if (call.head_dim / 2 >= 2 * static_cast<int64_t>(hn::Lanes(Full()))) {
    RunTokens<source, output, numerics, Lanes, Full>(call);
  } else {
    RunTokens<source, output, numerics, Lanes, Small>(call);
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ROW_INL_H_
