// SPDX-License-Identifier: Apache-2.0
// cos and sin of a token, as the rotation takes them: eight vectors a step, which are cos_lo,
// sin_lo, cos_hi and sin_hi, each of a and of b.
#if defined(ROPEKV_KERNELS_ANGLES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ANGLES_INL_H_
#undef ROPEKV_KERNELS_ANGLES_INL_H_
#else
#define ROPEKV_KERNELS_ANGLES_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// cos and sin of a token.
struct AngleRows {
  const void* cos;
  const void* sin;
  DType dtype;
  int64_t half;  // KernelCall::rotary_half
  // The channel that is worked on beside channel 0; of halves that share an entry, 0.
  int64_t upper;
  bool half_width;  // an entry for each pair
};

// Calls put(n, vector) for the eight vectors of the step that begins at `pair`.
template <class V, class Format, class Put>
HWY_INLINE void ReadAngles(const AngleRows& rows, int64_t pair, const Put& put) {
  using Vec = Float32<FullVectors>;
  constexpr bool kNeighbours = V::kStyle == RotaryStyle::kInterleaved;
  using Order = typename V::template Order<true>;
  const FullVectors df;
  const auto read = [&](const void* row, int64_t channel, int64_t n) ROPEKV_INLINE_LAMBDA {
    const auto* from = static_cast<const typename Format::T*>(row) + channel;
    Vec a, b;
    if (kNeighbours && rows.half_width) {
      // An entry for each pair, wanted twice.
      HWY_ALIGN float twice[2 * hn::MaxLanes(FullVectors())];
      const hn::Rebind<typename Format::T, FullVectors> d;
      const Vec entries = Format::ToF32(df, hn::LoadU(d, from - channel / 2));
      hn::StoreInterleaved2(entries, entries, df, twice);
      Order::Load(df, twice, a, b);
    } else if (V::kOnePlace && rows.half_width) {
      const hn::Rebind<typename Format::T, FullVectors> d;
      a = b = Format::ToF32(df, hn::LoadU(d, from));
    } else {
      Order::template Read<Format>(df, from, a, b);
    }
    if constexpr (kNeighbours && !V::kSplitsPairs) {
      if (n % 4 == 2) {  // sin; its row may be that of cos too
        a = hn::OddEven(a, hn::Neg(a));
        b = hn::OddEven(b, hn::Neg(b));
      }
    }
    put(n, a);
    put(n + 1, b);
  };
  read(rows.cos, pair, 0);
  read(rows.sin, pair, 2);
  read(rows.cos, rows.upper + pair, 4);
  read(rows.sin, rows.upper + pair, 6);
}

// Where the angles of the tokens of a tile are kept, made once for all of their heads: in memory,
// as f32.
class AnglesInMemory {
  using DF = FullVectors;

 public:
  // How many tokens there is room for.
  static int64_t Tokens(int64_t half) { return kRoom / Stride(half); }

  HWY_INLINE void Set(int64_t i, int64_t half, int64_t step, int64_t n, Float32<DF> value) {
    hn::Store(value, DF(), data_ + At(i, half, step, n));
  }
  HWY_INLINE Float32<DF> Get(int64_t i, int64_t half, int64_t step, int64_t n) const {
    return hn::Load(DF(), data_ + At(i, half, step, n));
  }

 private:
  static constexpr int64_t kRoom = 4 * (kMaxHeadDim / 2 + 2 * hn::MaxLanes(DF()));

  // Of a step that is pulled back the pairs are there twice.
  static HWY_INLINE int64_t Stride(int64_t half) {
    const int64_t size = 2 * static_cast<int64_t>(hn::Lanes(DF()));
    return (half + size - 1) / size * size * 4;
  }
  static HWY_INLINE int64_t At(int64_t i, int64_t half, int64_t step, int64_t n) {
    return i * Stride(half) + (8 * step + n) * static_cast<int64_t>(hn::Lanes(DF()));
  }

  HWY_ALIGN float data_[kRoom];
};

#if HWY_TARGET == HWY_AVX3
// The same of one token in registers, of which there are 32, for at most 64 pairs.
template <int64_t kPairs>
class AnglesInRegisters {
 public:
  static int64_t Tokens(int64_t) { return 1; }

  HWY_INLINE void Set(int64_t, int64_t, int64_t step, int64_t n, Float32<FullVectors> value) {
    // g++ would load and convert it again for each head.
    asm("" : "+v"(value.raw));
    v_[8 * step + n] = value;
  }
  HWY_INLINE Float32<FullVectors> Get(int64_t, int64_t, int64_t step, int64_t n) const {
    return v_[8 * step + n];
  }

 private:
  Float32<FullVectors> v_[8 * ((kPairs + 31) / 32)];
};
#endif

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET != HWY_SCALAR

#endif  // ROPEKV_KERNELS_ANGLES_INL_H_
