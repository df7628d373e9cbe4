// SPDX-License-Identifier: Apache-2.0
// The rotation of pairs (rotate-half: channel i of a head turns with channel i + h), where it
// rounds, and the cos and sin of a token as it takes them.
#if defined(ROPEKV_KERNELS_ROTATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROTATE_INL_H_
#undef ROPEKV_KERNELS_ROTATE_INL_H_
#else
#define ROPEKV_KERNELS_ROTATE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Where the rotation rounds: Input is applied to q and k before it, Result to each product and sum.
template <Numerics numerics, DType source>
struct Rounding {
  template <class DF>
  static HWY_INLINE Float32<DF> Input(DF, Float32<DF> value) {
    return value;
  }
  template <class DF>
  static HWY_INLINE Float32<DF> Result(DF, Float32<DF> value) {
    return value;
  }
};

// To f16, twice: docs/numerics.md, lemma 3.
template <DType source>
struct Rounding<Numerics::kAscend, source> {
  template <class DF>
  static HWY_INLINE Float32<DF> Input(DF df, Float32<DF> value) {
    if constexpr (source == DType::kF16) return value;
    return Result(df, value);
  }
  template <class DF>
  static HWY_INLINE Float32<DF> Result(DF df, Float32<DF> value) {
    return FormatF16::ToF32(df, FormatF16::FromF32(df, value));
  }
};

// One vector of each half. The sums are left as f32; who takes them rounds them. `fused` needs
// exact products: lemma 1.
template <class Round, bool fused, class DF, class V = Float32<DF>>
HWY_INLINE void Rotate(DF df, V cos_lo, V sin_lo, V cos_hi, V sin_hi, V& lo, V& hi) {
  const auto a = Round::Input(df, lo);
  const auto b = Round::Input(df, hi);
  if constexpr (fused) {
    lo = hn::MulSub(a, cos_lo, hn::Mul(b, sin_lo));
    hi = hn::MulAdd(b, cos_hi, hn::Mul(a, sin_hi));
  } else {
    lo = hn::Sub(Round::Result(df, hn::Mul(a, cos_lo)), Round::Result(df, hn::Mul(b, sin_lo)));
    hi = hn::Add(Round::Result(df, hn::Mul(b, cos_hi)), Round::Result(df, hn::Mul(a, sin_hi)));
  }
}

// cos and sin of the tokens of a tile, made once for all of their heads. Each step has eight
// vectors, in the order in which Rotate takes them: cos_lo, sin_lo, cos_hi, sin_hi, each of a and
// of b. lo belongs to channels [0, h), hi to [h, 2h); they are independent.

// In memory, as f32.
template <class Order, class Format, class DF>
class AnglesInMemory {
 public:
  // How many tokens of this head_dim there is room for.
  static int64_t Tokens(int64_t half) { return kRoom / Stride(half); }

  // Of token `i`.
  HWY_INLINE void Load(int64_t i, const void* cos, const void* sin, int64_t half) {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(DF()));
    float* to = data_ + i * Stride(half);
    ForSteps<0>(DF(), half, [&](int64_t step, int64_t pair) ROPEKV_INLINE_LAMBDA {
      const auto convert = [&](const void* from, int64_t channel, int64_t at) ROPEKV_INLINE_LAMBDA {
        Float32<DF> a, b;
        Order::template Load16<Format>(DF(), static_cast<const uint16_t*>(from) + channel, a, b);
        hn::Store(a, DF(), to + (8 * step + at) * lanes);
        hn::Store(b, DF(), to + (8 * step + at + 1) * lanes);
      };
      convert(cos, pair, 0);
      convert(sin, pair, 2);
      convert(cos, half + pair, 4);
      convert(sin, half + pair, 6);
    });
  }

  HWY_INLINE Float32<DF> Get(int64_t i, int64_t half, int64_t step, int64_t at) const {
    return hn::Load(
        DF(), data_ + i * Stride(half) + (8 * step + at) * static_cast<int64_t>(hn::Lanes(DF())));
  }

 private:
  static constexpr int64_t kRoom = 4 * (kMaxHeadDim / 2 + 2 * hn::MaxLanes(DF()));

  // Of a step that is pulled back the pairs are there twice.
  static HWY_INLINE int64_t Stride(int64_t half) {
    const int64_t size = 2 * static_cast<int64_t>(hn::Lanes(DF()));
    return (half + size - 1) / size * size * 4;
  }

  HWY_ALIGN float data_[kRoom];
};

#if HWY_TARGET == HWY_AVX3
// Of one token in registers, of which there are 32, for at most 64 pairs.
template <class Order, class Format, int64_t kPairs>
class AnglesInRegisters {
  using DF = FullVectors;

 public:
  static int64_t Tokens(int64_t) { return 1; }

  HWY_INLINE void Load(int64_t, const void* cos, const void* sin, int64_t half) {
    const auto load = [&](const void* from, int64_t channel, int64_t at) ROPEKV_INLINE_LAMBDA {
      Order::template Load16<Format>(DF(), static_cast<const uint16_t*>(from) + channel, v_[at],
                                     v_[at + 1]);
      // g++ would load and convert them again for each head.
      asm("" : "+v"(v_[at].raw), "+v"(v_[at + 1].raw));
    };
    ForSteps<kPairs>(DF(), half, [&](auto step, int64_t pair) ROPEKV_INLINE_LAMBDA {
      load(cos, pair, 8 * step);
      load(sin, pair, 8 * step + 2);
      load(cos, half + pair, 8 * step + 4);
      load(sin, half + pair, 8 * step + 6);
    });
  }

  HWY_INLINE Float32<DF> Get(int64_t, int64_t, int64_t step, int64_t at) const {
    return v_[8 * step + at];
  }

 private:
  Float32<DF> v_[8 * ((kPairs + 31) / 32)];
};
#endif

// Rotates by f32 operations. `Angles` is one of the above.
template <class Order, class Round, bool fused, class Angles, class DF>
class RotationByF32 {
 public:
  static int64_t Tokens(int64_t half) { return Angles::Tokens(half); }

  HWY_INLINE bool Load(int64_t i, const void* cos, const void* sin, int64_t half) {
    angles_.Load(i, cos, sin, half);
    return true;
  }

  // Nothing to check.
  struct Largest {};
  static HWY_INLINE Largest None() { return {}; }
  static HWY_INLINE bool TooLarge(Largest) { return false; }

  // A step of token `i`.
  template <class V = Float32<DF>>
  HWY_INLINE void Turn(int64_t i, int64_t half, int64_t step, V& lo_a, V& lo_b, V& hi_a,
                       V& hi_b) const {
    const auto angle = [&](int64_t at)
                           ROPEKV_INLINE_LAMBDA { return angles_.Get(i, half, step, at); };
    Rotate<Round, fused>(DF(), angle(0), angle(2), angle(4), angle(6), lo_a, hi_a);
    Rotate<Round, fused>(DF(), angle(1), angle(3), angle(5), angle(7), lo_b, hi_b);
  }

 private:
  Angles angles_;
};

#if HWY_TARGET == HWY_AVX3
// Both products of bf16 and their sum by one instruction, which flushes subnormal numbers
// (docs/numerics.md, lemma 4). The halves of a head are interleaved, lo and hi in one 32-bit lane,
// and so are the angles: (cos, -sin) for the lower half, (sin, cos) for the upper one. Four vectors
// a step; for up to 128 pairs they stay in registers.
template <int64_t kPairs>
class RotationByBF16Dot {
  using DF = FullVectors;
  static constexpr int64_t kSteps = ((kPairs ? kPairs : kMaxHeadDim / 2) + 31) / 32;

 public:
  // Whether lemma 4 takes these angles: each is 0, or in size from 2^-126 to 2^32.
  HWY_INLINE bool Load(int64_t, const void* cos, const void* sin, int64_t half) {
    __mmask32 ok = ~__mmask32{0};
    const auto load = [&](const void* from, int64_t channel) ROPEKV_INLINE_LAMBDA {
      const __m512i bits = _mm512_loadu_si512(static_cast<const uint16_t*>(from) + channel);
      const __m512i size = _mm512_and_si512(bits, _mm512_set1_epi16(0x7FFF));
      const __m512i least = _mm512_set1_epi16(1 << 7);
      ok &= _mm512_cmple_epu16_mask(_mm512_sub_epi16(size, least),
                                    _mm512_set1_epi16((127 + 32 - 1) << 7)) |
            _mm512_testn_epi16_mask(size, size);
      return bits;
    };
    ForSteps<kPairs>(DF(), half, [&](int64_t step, int64_t pair) ROPEKV_INLINE_LAMBDA {
      const __m512i cos_lo = load(cos, pair), cos_hi = load(cos, half + pair);
      const __m512i sin_hi = load(sin, half + pair);
      const __m512i minus_sin_lo =
          _mm512_xor_si512(load(sin, pair), _mm512_set1_epi16(static_cast<int16_t>(0x8000)));
      angles_[4 * step] = _mm512_unpacklo_epi16(cos_lo, minus_sin_lo);
      angles_[4 * step + 1] = _mm512_unpackhi_epi16(cos_lo, minus_sin_lo);
      angles_[4 * step + 2] = _mm512_unpacklo_epi16(sin_hi, cos_hi);
      angles_[4 * step + 3] = _mm512_unpackhi_epi16(sin_hi, cos_hi);
    });
    return ok == ~__mmask32{0};
  }

  static int64_t Tokens(int64_t) { return 1; }

  // The largest |x| of a head, times 2 as bits. Below 2^95 no product overflows. For processors
  // that would round the sum only once; Zen 5 rounds a product of 2^128 to infinity first.
  using Largest = hn::Vec<hn::CappedTag<uint16_t, 32>>;
  static HWY_INLINE Largest None() { return Largest{_mm512_setzero_si512()}; }

  // A step whose two halves begin at lo and hi.
  template <class V = Float32<DF>>
  HWY_INLINE void Turn(const uint16_t* lo, const uint16_t* hi, int64_t step, V& lo_a, V& lo_b,
                       V& hi_a, V& hi_b, Largest& largest) const {
    const __m512i x_lo = _mm512_loadu_si512(lo), x_hi = _mm512_loadu_si512(hi);
    largest.raw = _mm512_max_epu16(
        largest.raw, _mm512_max_epu16(_mm512_add_epi16(x_lo, x_lo), _mm512_add_epi16(x_hi, x_hi)));
    const __m512i a = _mm512_unpacklo_epi16(x_lo, x_hi), b = _mm512_unpackhi_epi16(x_lo, x_hi);
    lo_a = Dot(a, angles_[4 * step]);
    lo_b = Dot(b, angles_[4 * step + 1]);
    hi_a = Dot(a, angles_[4 * step + 2]);
    hi_b = Dot(b, angles_[4 * step + 3]);
  }

  static HWY_INLINE bool TooLarge(Largest largest) {
    return _mm512_cmpge_epu16_mask(largest.raw,
                                   _mm512_set1_epi16(static_cast<int16_t>((127 + 95) << 8))) != 0;
  }

 private:
  static HWY_INLINE Float32<DF> Dot(__m512i x, __m512i angles) {
    // Either zero would do: lemma 4.
    __m512 sum = _mm512_set1_ps(-0.0f);
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(angles));
    return Float32<DF>{sum};
  }

  __m512i angles_[4 * kSteps];
};
#endif

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ROTATE_INL_H_
