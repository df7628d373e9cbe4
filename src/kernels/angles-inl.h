// SPDX-License-Identifier: Apache-2.0
// cos and sin of a token, as the rotation takes them: eight vectors a step, which are cos_lo,
// sin_lo, cos_hi and sin_hi, each of a and of b.
#if defined(ROPEKV_KERNELS_ANGLES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ANGLES_INL_H_
#undef ROPEKV_KERNELS_ANGLES_INL_H_
#else
#define ROPEKV_KERNELS_ANGLES_INL_H_
#endif

#include <utility>

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
  int64_t half;   // KernelCall::rotary_half
  int64_t upper;  // the entry of the first channel that is worked on beside channel 0
};

// Each of `count` values twice.
template <class T>
void Duplicate(const T* from, int64_t count, T* to) {
  int64_t i = 0;
  const hn::CappedTag<T, 64 / sizeof(T)> d;
  for (const auto lanes = static_cast<int64_t>(hn::Lanes(d)); i + lanes <= count; i += lanes) {
    const auto values = hn::LoadU(d, from + i);
    hn::StoreInterleaved2(values, values, d, to + 2 * i);
  }
  for (; i < count; ++i) to[2 * i] = to[2 * i + 1] = from[i];
}

// Room for cos and sin of a token.
using AngleRoom = uint32_t[2][kMaxHeadDim];

// The rows of a token. Interleaved pairs that share an entry get two, in `room`.
template <class V>
HWY_INLINE AngleRows RowsOf(const KernelCall& call, int64_t token, AngleRoom& room) {
  const int64_t full = call.rotary_dim - call.rotary_half;
  AngleRows rows = {call.cos[token], call.sin[token], call.angles_dtype, call.rotary_half,
                    call.half_width_angles ? 0 : full};
  if (V::kStyle == RotaryStyle::kHalf || !call.half_width_angles) return rows;
  const auto duplicate = [&](auto unit) ROPEKV_INLINE_LAMBDA {
    using T = decltype(unit);
    for (const auto& [from, to] : {std::pair{&rows.cos, room[0]}, std::pair{&rows.sin, room[1]}}) {
      Duplicate(static_cast<const T*>(*from), call.rotary_dim / 2, reinterpret_cast<T*>(to));
      *from = to;
    }
  };
  if (rows.dtype == DType::kF32) {
    duplicate(uint32_t());
  } else {
    duplicate(uint16_t());
  }
  rows.upper = full;
  return rows;
}

// Calls put(n, vector) for the eight vectors of the step that begins at `pair`.
template <class V, class Format, class Put>
HWY_INLINE void ReadAngles(const AngleRows& rows, int64_t pair, const Put& put) {
  const FullVectors df;
  const auto read = [&](const void* row, int64_t entry, int64_t n) ROPEKV_INLINE_LAMBDA {
    Float32<FullVectors> a, b;
    V::Order::template Read<Format>(df, static_cast<const typename Format::T*>(row) + entry, a, b);
    if constexpr (V::kStyle == RotaryStyle::kInterleaved && !V::Order::kSplitsPairs) {
      if (row == rows.sin) {
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
