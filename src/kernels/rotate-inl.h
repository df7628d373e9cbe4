// SPDX-License-Identifier: Apache-2.0
// The rotation of pairs, and where it rounds.
#if defined(ROPEKV_KERNELS_ROTATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ROTATE_INL_H_
#undef ROPEKV_KERNELS_ROTATE_INL_H_
#else
#define ROPEKV_KERNELS_ROTATE_INL_H_
#endif

#include <type_traits>

#include "hwy/highway.h"
#include "kernels/angles-inl.h"
#include "kernels/call.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"

#if HWY_TARGET != HWY_SCALAR
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

// The two channels of pairs, a vector each. The sums are left as f32; who takes them rounds them.
// `fused` needs exact products: lemmas 1 and 5.
template <class Round, bool fused, class DF, class Vec = Float32<DF>>
HWY_INLINE void Rotate(DF df, Vec cos_lo, Vec sin_lo, Vec cos_hi, Vec sin_hi, Vec& lo, Vec& hi) {
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

// Pairs that are neighbours in one vector; the sines of even lanes are negated. Adding a negated
// product is subtracting it.
template <class Round, bool fused, class DF, class Vec = Float32<DF>>
HWY_INLINE void RotateNeighbours(DF df, Vec cos, Vec sin, Vec& both) {
  const auto a = Round::Input(df, both);
  const auto b = hn::Mul(hn::Shuffle2301(a), sin);
  if constexpr (fused) {
    both = hn::MulAdd(a, cos, b);
  } else {
    both = hn::Add(Round::Result(df, hn::Mul(a, cos)), Round::Result(df, b));
  }
}

// Rotates a step, whose cos and sin are eight vectors: cos_lo, sin_lo, cos_hi, sin_hi, each of a
// and of b. `angle(n)` is the nth of them.
template <class V, class Angle, class Vec = Float32<FullVectors>>
HWY_INLINE void Turn(const Angle& angle, Vec& lo_a, Vec& lo_b, Vec& hi_a, Vec& hi_b) {
  using Round = typename V::Round;
  constexpr bool fused = V::kFused;
  const FullVectors df;
  if constexpr (V::kSplitsPairs) {
    Rotate<Round, fused>(df, angle(0), angle(2), angle(1), angle(3), lo_a, lo_b);
    if constexpr (V::kOnePlace) {
      hi_a = lo_a;
      hi_b = lo_b;
    } else {
      Rotate<Round, fused>(df, angle(4), angle(6), angle(5), angle(7), hi_a, hi_b);
    }
  } else if constexpr (V::kStyle == RotaryStyle::kHalf) {
    Rotate<Round, fused>(df, angle(0), angle(2), angle(4), angle(6), lo_a, hi_a);
    Rotate<Round, fused>(df, angle(1), angle(3), angle(5), angle(7), lo_b, hi_b);
  } else {
    RotateNeighbours<Round, fused>(df, angle(0), angle(2), lo_a);
    RotateNeighbours<Round, fused>(df, angle(1), angle(3), lo_b);
    RotateNeighbours<Round, fused>(df, angle(4), angle(6), hi_a);
    RotateNeighbours<Round, fused>(df, angle(5), angle(7), hi_b);
  }
}

// Rotates by f32 operations. `Angles` is where they are kept; kPairs is 0 for any number.
template <class V, class Angles, int64_t kPairs>
class RotationByF32 {
 public:
  static int64_t Tokens(int64_t half) { return Angles::Tokens(half); }

  // For token `i` of the tile.
  HWY_INLINE bool Load(int64_t i, const AngleRows& rows) {
    const auto load = [&](auto format) ROPEKV_INLINE_LAMBDA {
      ForSteps<kPairs>(FullVectors(), rows.half, [&](auto step, int64_t pair) ROPEKV_INLINE_LAMBDA {
        const auto set = [&](int64_t n, Float32<FullVectors> value)
                             ROPEKV_INLINE_LAMBDA { angles_.Set(i, rows.half, step, n, value); };
        ReadAngles<V, decltype(format)>(rows, pair, set);
      });
    };
    if constexpr (V::kAnyAngles) {
      if (rows.dtype == DType::kF32) return load(FormatF32()), true;
    }
    load(typename V::AnglesFormat());
    return true;
  }

  // A step of token `i`.
  template <class Vec = Float32<FullVectors>>
  HWY_INLINE void TurnStep(int64_t i, int64_t half, int64_t step, Vec& lo_a, Vec& lo_b, Vec& hi_a,
                           Vec& hi_b) const {
    const auto angle = [&](int64_t n)
                           ROPEKV_INLINE_LAMBDA { return angles_.Get(i, half, step, n); };
    Turn<V>(angle, lo_a, lo_b, hi_a, hi_b);
  }

 private:
  Angles angles_;
};

#if HWY_TARGET == HWY_AVX3
// Both products of bf16 and their sum by one instruction, which flushes subnormal numbers
// (docs/numerics.md, lemma 4). It works on 32-bit lanes that hold both channels of a pair: those of
// neighbours do, the halves of a head are interleaved. So are the angles: (cos, -sin) for the first
// channel of a pair, (sin, cos) for the second. Four vectors a step; for up to 128 pairs they stay
// in registers.
template <class V, int64_t kPairs>
class RotationByBF16Dot {
  using DF = FullVectors;
  static constexpr bool kNeighbours = V::kStyle == RotaryStyle::kInterleaved;

 public:
  // Whether lemma 4 takes these angles: each is 0, or in size from 2^-126 to 2^32.
  HWY_INLINE bool Load(int64_t, const AngleRows& rows) {
    __mmask32 ok = ~__mmask32{0};
    const auto load = [&](const void* from, int64_t channel) ROPEKV_INLINE_LAMBDA {
      const auto* entries = static_cast<const uint16_t*>(from) + channel;
      __m512i bits;
      if (kNeighbours && rows.half_width) {
        bits = _mm512_cvtepu16_epi32(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(entries - channel / 2)));
        bits = _mm512_or_si512(bits, _mm512_slli_epi32(bits, 16));
      } else {
        bits = _mm512_loadu_si512(entries);
      }
      const __m512i size = _mm512_and_si512(bits, _mm512_set1_epi16(0x7FFF));
      const __m512i least = _mm512_set1_epi16(1 << 7);
      ok &= _mm512_cmple_epu16_mask(_mm512_sub_epi16(size, least),
                                    _mm512_set1_epi16((127 + 32 - 1) << 7)) |
            _mm512_testn_epi16_mask(size, size);
      return bits;
    };
    const __m512i sign = _mm512_set1_epi16(static_cast<int16_t>(0x8000));
    ForSteps<kPairs>(DF(), rows.half, [&](int64_t step, int64_t pair) ROPEKV_INLINE_LAMBDA {
      const __m512i cos_lo = load(rows.cos, pair), cos_hi = load(rows.cos, rows.upper + pair);
      const __m512i sin_lo = load(rows.sin, pair), sin_hi = load(rows.sin, rows.upper + pair);
      __m512i* to = angles_ + 4 * step;
      if constexpr (kNeighbours) {
        to[0] = Even(cos_lo, _mm512_xor_si512(sin_lo, sign));
        to[1] = Odd(sin_lo, cos_lo);
        to[2] = Even(cos_hi, _mm512_xor_si512(sin_hi, sign));
        to[3] = Odd(sin_hi, cos_hi);
      } else {
        const __m512i minus_sin = _mm512_xor_si512(sin_lo, sign);
        to[0] = _mm512_unpacklo_epi16(cos_lo, minus_sin);
        to[1] = _mm512_unpackhi_epi16(cos_lo, minus_sin);
        to[2] = _mm512_unpacklo_epi16(sin_hi, cos_hi);
        to[3] = _mm512_unpackhi_epi16(sin_hi, cos_hi);
      }
    });
    return ok == ~__mmask32{0};
  }

  static int64_t Tokens(int64_t) { return 1; }

  // A step whose two halves begin at lo and hi.
  template <class Vec = Float32<DF>>
  HWY_INLINE void TurnStep(const uint16_t* lo, const uint16_t* hi, int64_t step, Vec& lo_a,
                           Vec& lo_b, Vec& hi_a, Vec& hi_b) const {
    const __m512i x_lo = _mm512_loadu_si512(lo), x_hi = _mm512_loadu_si512(hi);
    const __m512i* angles = angles_ + 4 * step;
    if constexpr (kNeighbours) {
      lo_a = Dot(x_lo, angles[0]);
      lo_b = Dot(x_lo, angles[1]);
      hi_a = Dot(x_hi, angles[2]);
      hi_b = Dot(x_hi, angles[3]);
    } else {
      const __m512i a = _mm512_unpacklo_epi16(x_lo, x_hi), b = _mm512_unpackhi_epi16(x_lo, x_hi);
      lo_a = Dot(a, angles[0]);
      lo_b = Dot(b, angles[1]);
      hi_a = Dot(a, angles[2]);
      hi_b = Dot(b, angles[3]);
    }
  }

 private:
  // Of each 32 bits of two vectors, the lower or the upper halves.
  static HWY_INLINE __m512i Even(__m512i a, __m512i b) {
    return _mm512_mask_blend_epi16(0xAAAAAAAA, a, _mm512_slli_epi32(b, 16));
  }
  static HWY_INLINE __m512i Odd(__m512i a, __m512i b) {
    return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(a, 16), b);
  }

  static HWY_INLINE Float32<DF> Dot(__m512i x, __m512i angles) {
    // Either zero would do: lemma 4.
    __m512 sum = _mm512_setzero_ps();
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(angles));
    return Float32<DF>{sum};
  }

  __m512i angles_[4 * (((kPairs ? kPairs : kMaxHeadDim / 2) + 31) / 32)];
};
#endif

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET != HWY_SCALAR

#endif  // ROPEKV_KERNELS_ROTATE_INL_H_
