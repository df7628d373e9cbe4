// SPDX-License-Identifier: Apache-2.0
// The fused body: for each token, one pass from x to q, k, v and the caches.
#if defined(ROPEKV_KERNELS_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROW_INL_H_
#undef ROPEKV_KERNELS_ROW_INL_H_
#else
#define ROPEKV_KERNELS_ROW_INL_H_
#endif

#include <algorithm>

#include "hwy/highway.h"
#include "kernels/access-inl.h"
#include "kernels/cache-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/rotary-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// One 16-bit output head, or none.
template <class Format, class Access>
class HeadOutput {
 public:
  HeadOutput(const RowOutput& output, int64_t token, int64_t head)
      : data_(output.data ? At<uint16_t>(output, token, head) : nullptr),
        stride_(output.lane_stride) {}

  template <class DF>
  HWY_INLINE void Store(DF df, Float32<DF> value, int64_t lane) const {
    if (data_ == nullptr) return;
    const hn::Rebind<uint16_t, DF> du16;
    Access::Store(Format::FromF32(df, value), du16, data_, lane, stride_);
  }

 private:
  uint16_t* data_;
  int64_t stride_;
};

template <DType source, DType output, Numerics numerics, class Access>
class TokenKernel {
  using Format = FormatOf<output>;
  using Rotary = RotateHalf<Rounding<numerics, source>>;
  using Head = HeadOutput<Format, Access>;
  using Codec = Int8Codec<Access>;

 public:
  TokenKernel(const RowCall& call, int64_t token)
      : call_(call), token_(token), half_(call.head_dim / 2), x_(call, token) {}

  HWY_INLINE void Run() const {
    int8_t* const k_row = call_.k_cache.rows[token_];
    int8_t* const v_row = call_.v_cache.rows[token_];
    for (int64_t first = 0; first < half_; first += Angles::kMaxPairs) {
      const int64_t count = std::min(half_ - first, Angles::kMaxPairs);
      Angles angles;
      LoadAngles(first, count, angles);
      for (int64_t head = 0; head < call_.num_q_heads; ++head) {
        const Head q(call_.q, token_, head);
        RotateHead(angles, head, first, count, [&](auto df, auto value, int64_t lane) HWY_ATTR {
          q.Store(df, value, lane);
        });
      }
      if (k_row == nullptr && call_.k.data == nullptr) continue;
      for (int64_t head = 0; head < call_.num_kv_heads; ++head) {
        const Head k(call_.k, token_, head);
        const Codec cache(call_.scale_k, call_.offset_k, call_.k_cache, k_row, head);
        RotateHead(angles, call_.num_q_heads + head, first, count,
                   [&](auto df, auto value, int64_t lane) HWY_ATTR {
                     k.Store(df, value, lane);
                     cache.Store(df, value, lane);
                   });
      }
    }
    if (v_row == nullptr && call_.v.data == nullptr) return;
    for (int64_t head = 0; head < call_.num_kv_heads; ++head) {
      const Head v(call_.v, token_, head);
      const Codec cache(call_.scale_v, call_.offset_v, call_.v_cache, v_row, head);
      const int64_t channel = (call_.num_q_heads + call_.num_kv_heads + head) * call_.head_dim;
      ForLanes(call_.head_dim, [&](auto df, int64_t lane) HWY_ATTR {
        const auto value = x_.Load(df, channel + lane);
        v.Store(df, value, lane);
        cache.Store(df, value, lane);
      });
    }
  }

 private:
  HWY_INLINE void LoadAngles(int64_t first, int64_t count, Angles& angles) const {
    const auto* cos = At<uint16_t>(call_.cos, token_, 0);
    const auto* sin = At<uint16_t>(call_.sin, token_, 0);
    ForLanes(count, [&](auto df, int64_t i) HWY_ATTR {
      const auto load = [&](const uint16_t* row, const RowInput& table, int64_t lane) HWY_ATTR {
        const hn::Rebind<uint16_t, decltype(df)> du16;
        return Format::ToF32(df, Access::Load(du16, row, lane, table.lane_stride));
      };
      hn::StoreU(load(cos, call_.cos, first + i), df, angles.cos_lo + i);
      hn::StoreU(load(cos, call_.cos, half_ + first + i), df, angles.cos_hi + i);
      hn::StoreU(load(sin, call_.sin, first + i), df, angles.sin_lo + i);
      hn::StoreU(load(sin, call_.sin, half_ + first + i), df, angles.sin_hi + i);
    });
  }

  // Rotates pairs [first, first + count) of one head of x and hands both halves to store.
  template <class StoreFn>
  HWY_INLINE void RotateHead(const Angles& angles, int64_t x_head, int64_t first, int64_t count,
                             const StoreFn& store) const {
    const int64_t channel = x_head * call_.head_dim + first;
    ForLanes(count, [&](auto df, int64_t i) HWY_ATTR {
      auto lo = x_.Load(df, channel + i);
      auto hi = x_.Load(df, channel + half_ + i);
      Rotary::Rotate(df, angles, i, lo, hi);
      store(df, lo, first + i);
      store(df, hi, half_ + first + i);
    });
  }

  const RowCall& call_;
  int64_t token_;
  int64_t half_;
  Source<source, Access> x_;
};

template <DType source, DType output, Numerics numerics, class Access>
void Rows(const RowCall& call) {
  for (int64_t token = 0; token < call.num_tokens; ++token) {
    TokenKernel<source, output, numerics, Access>(call, token).Run();
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ROW_INL_H_
