// SPDX-License-Identifier: Apache-2.0
// Scales and offsets of a cache, as a codec takes them, for all channels of a token.
#if defined(ROPEKV_KERNELS_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_TABLE_INL_H_
#undef ROPEKV_KERNELS_TABLE_INL_H_
#else
#define ROPEKV_KERNELS_TABLE_INL_H_
#endif

#include <algorithm>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/row.h"
#include "kernels/step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// For each step of pairs, for each head
//
//   lo_a | lo_b | hi_a | hi_b      each a vector
template <Part part, class Lanes, class Codec, class DF>
class ScaleTable {
 public:
  // In channels: 64 heads of 128.
  static constexpr int64_t kRoom = 64 * 128;

  // A place in it: one step of one head.
  struct Entry {
    const float* scales = nullptr;
    const float* shifts = nullptr;
    int64_t shift_stride = 0;

    HWY_INLINE void Load(int i, Float32<DF>& scale, Float32<DF>& shift) const {
      const DF df;
      scale = hn::Load(df, scales + i * hn::Lanes(df));
      shift = hn::Load(df, shifts + i * hn::Lanes(df));
    }
    // So many heads on; after a step's last head comes the first of the next step.
    HWY_INLINE void Skip(int64_t heads) {
      if constexpr (part != Part::kQ) {  // of which there is no table
        scales += heads * Stride();
        shifts += heads * shift_stride;
      }
    }
  };

  // Whether there are at most this many channels, those of pulled back steps counted twice.
  static bool Holds(const RowCall& call, int64_t channels = kRoom) {
    const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(DF()));
    const int64_t half_room = (call.head_dim / 2 + step - 1) / step * step;
    return call.num_kv_heads * 2 * half_room <= channels;
  }

  explicit HWY_INLINE ScaleTable(const RowCall& call)
      : shift_stride_(Of<part>::Offset(call).data ? Stride() : 0) {
    const DF df;
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t half = call.head_dim / 2;
    float* scales = scales_;
    float* shifts = shifts_;
    ForSteps<Lanes>(df, half, [&](int64_t, int64_t lane) ROPEKV_INLINE_LAMBDA {
      for (int64_t head = 0; head < call.num_kv_heads; ++head) {
        for (int64_t hi = 0; hi < 2; ++hi) {
          Float32<DF> scale_a, scale_b, shift_a, shift_b;
          LoadScales<part, Lanes, Codec>(df, call, head, hi * half, lane, half, scale_a, scale_b,
                                         shift_a, shift_b);
          hn::Store(scale_a, df, scales + 2 * hi * lanes);
          hn::Store(scale_b, df, scales + (2 * hi + 1) * lanes);
          hn::Store(shift_a, df, shifts + 2 * hi * lanes);
          hn::Store(shift_b, df, shifts + (2 * hi + 1) * lanes);
        }
        scales += Stride();
        shifts += shift_stride_;
      }
    });
  }

  Entry First() const { return {scales_, shifts_, shift_stride_}; }

 private:
  static int64_t Stride() { return 4 * static_cast<int64_t>(hn::Lanes(DF())); }

  HWY_ALIGN float scales_[kRoom];
  HWY_ALIGN float shifts_[kRoom];
  int64_t shift_stride_;  // 0: there are no offsets, and all shifts are the same
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_TABLE_INL_H_
