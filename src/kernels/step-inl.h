// SPDX-License-Identifier: Apache-2.0
// The fused body, of a step of one token's head: read, rotate, round, quantise, store.
#if defined(ROPEKV_KERNELS_STEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_STEP_INL_H_
#undef ROPEKV_KERNELS_STEP_INL_H_
#else
#define ROPEKV_KERNELS_STEP_INL_H_
#endif

#include <type_traits>

#include "hwy/highway.h"
#include "kernels/cache-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/rotary-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

enum class Part { kQ, kK, kV };

// What of a call belongs to q, k or v.
template <Part part>
struct Of {
  static int64_t Heads(const RowCall& call) {
    return part == Part::kQ ? call.num_q_heads : call.num_kv_heads;
  }
  // The first of its channels in x.
  static int64_t FirstChannel(const RowCall& call) {
    const int64_t heads_before = part == Part::kQ   ? 0
                                 : part == Part::kK ? call.num_q_heads
                                                    : call.num_q_heads + call.num_kv_heads;
    return heads_before * call.head_dim;
  }
  static const RowOutput& Output(const RowCall& call) {
    return part == Part::kQ ? call.q : part == Part::kK ? call.k : call.v;
  }
  static const CacheRows& Cache(const RowCall& call) {
    return part == Part::kK ? call.k_cache : call.v_cache;
  }
  static const RowInput& Scale(const RowCall& call) {
    return part == Part::kK ? call.scale_k : call.scale_v;
  }
  static const RowInput& Offset(const RowCall& call) {
    return part == Part::kK ? call.offset_k : call.offset_v;
  }
};

// How values are rounded: to int8 and to 16 bits, and whether products of the rotation are exact.
template <class CodecT, class FormatT, bool exact_products>
struct Way {
  using Codec = CodecT;
  using Format = FormatT;
  static constexpr bool kExactProducts = exact_products;
};

// Which of a step's results are to be stored.
enum class Wanted {
  kWhatThereIs,  // those whose rows have data
  kOnlyLevels,   // known when compiled
};

template <DType source, DType output, Numerics numerics, class LanesT, class QuickFormat>
struct Variant {
  using Lanes = LanesT;
  using X = Source<source, Lanes>;
  using Round = Rounding<numerics, source>;
  using AnglesFormat = FormatOf<output>;

  static constexpr DType kSource = source;
  static constexpr bool kHasReciprocals = Lanes::kDense && HWY_TARGET != HWY_SCALAR;
  using QuickCodec = std::conditional_t<kHasReciprocals, ReciprocalCodec, DivisionCodec>;

  // Whether the products of the rotation are exact, as far as results that are not in doubt tell.
  // The significands of two 16-bit numbers multiplied fit into an f32. So does the exponent, if
  // they are f16. If they are bf16, a product a * c is inexact below 2^-126: then b * s decides the
  // result alone, or the result is below 2^-63. And it is infinite from 2^128 on: then the fused
  // result is 2^112 at least, since the products are multiples of that. K without outputs has
  // QuickCodec's doubts only: the former error is nothing to a level, and the latter values are
  // beyond what it converts.
  static constexpr bool kExactF16 = source == DType::kF16 && numerics == Numerics::kFloat32;
  static constexpr bool kExactBF16 = source == DType::kBF16 && QuickFormat::kDoubtsRange;

  using Quick = Way<QuickCodec, QuickFormat, kExactF16 || kExactBF16>;
  // Too few for reciprocals to pay.
  using FewTokens = Way<DivisionCodec, QuickFormat, kExactF16>;
  using Sure = Way<DivisionCodec, OutputFormat<source, output>, kExactF16>;
};

// A step of a head's scales and offsets, from its channel `first` on, as Codec::Prepare makes them.
template <Part part, class Lanes, class Codec, class DF>
HWY_INLINE void LoadScales(DF df, const RowCall& call, int64_t head, int64_t first, int64_t lane,
                           int64_t n, Float32<DF>& scale_a, Float32<DF>& scale_b,
                           Float32<DF>& shift_a, Float32<DF>& shift_b) {
  const auto scale = RowOf<float>(Of<part>::Scale(call), 0, head);
  Lanes::Load(df, Skip<Lanes>(scale, first), lane, n, scale_a, scale_b);
  shift_a = shift_b = hn::Set(df, -0.0f);
  const RowInput& offset = Of<part>::Offset(call);
  if (offset.data) {
    Lanes::Load(df, Skip<Lanes>(RowOf<float>(offset, 0, head), first), lane, n, shift_a, shift_b);
  }
  Codec::Prepare(df, scale_a, shift_a);
  Codec::Prepare(df, scale_b, shift_b);
}

// Reads a step of a head of which x_lo and x_hi are at the two halves.
template <class X, class DF, class Vec = Float32<DF>>
HWY_INLINE void ReadStep(DF df, const X& x_lo, const X& x_hi, int64_t lane, int64_t n, Vec& lo_a,
                         Vec& lo_b, Vec& hi_a, Vec& hi_b) {
  typename X::template Param<DF> scale_a, scale_b, bias_a, bias_b;
  x_lo.LoadParams(df, lane, n, scale_a, scale_b, bias_a, bias_b);
  x_lo.Load(df, lane, n, scale_a, scale_b, bias_a, bias_b, lo_a, lo_b);
  x_hi.LoadParams(df, lane, n, scale_a, scale_b, bias_a, bias_b);
  x_hi.Load(df, lane, n, scale_a, scale_b, bias_a, bias_b, hi_a, hi_b);
}

// Rotates a step of a head, if its part is rotated.
template <class V, Part part, class W, class DF, class Vec = Float32<DF>>
HWY_INLINE void RotateStep(DF df, Vec cos_lo_a, Vec cos_lo_b, Vec sin_lo_a, Vec sin_lo_b,
                           Vec cos_hi_a, Vec cos_hi_b, Vec sin_hi_a, Vec sin_hi_b, Vec& lo_a,
                           Vec& lo_b, Vec& hi_a, Vec& hi_b) {
  if constexpr (part != Part::kV) {
    using Rotary = RotateHalf<typename V::Round, W::kExactProducts>;
    Rotary::Rotate(df, cos_lo_a, sin_lo_a, cos_hi_a, sin_hi_a, lo_a, hi_a);
    Rotary::Rotate(df, cos_lo_b, sin_lo_b, cos_hi_b, sin_hi_b, lo_b, hi_b);
  }
}

// By angles in memory, as Angles keeps them.
template <class V, Part part, class W, class DF, class Vec = Float32<DF>>
HWY_INLINE void RotateStep(DF df, const float* angles, Vec& lo_a, Vec& lo_b, Vec& hi_a, Vec& hi_b) {
  const auto load = [&](int i) ROPEKV_INLINE_LAMBDA {
    return hn::Load(df, angles + i * static_cast<int64_t>(hn::Lanes(df)));
  };
  RotateStep<V, part, W>(df, load(0), load(1), load(2), load(3), load(4), load(5), load(6), load(7),
                         lo_a, lo_b, hi_a, hi_b);
}

// Rounds, quantises and stores a step of a head: lanes of its lower and of its upper half, which is
// `half` channels further on. A row without data is not wanted. For the vector number i of the
// four, level(i, scale, shift) gives what Codec::Prepare made.
//
// Returns false if something was in doubt: then the step is to be done again, the Sure way.
template <class V, Part part, class W, Wanted wanted, Stores stores, Stores level_stores, class DF,
          class Level>
HWY_INLINE bool FinishStep(DF df, Float32<DF> lo_a, Float32<DF> lo_b, Float32<DF> hi_a,
                           Float32<DF> hi_b, Row<uint16_t> out, Row<int8_t> levels, int64_t lane,
                           int64_t n, int64_t half, const Level& level) {
  using Lanes = typename V::Lanes;
  using Format = typename W::Format;
  using Codec = typename W::Codec;
  using Round = typename V::Round;
  bool sure = true;
  if (part == Part::kQ || (wanted != Wanted::kOnlyLevels && out.data)) {
    auto rounding = Format::NoDoubt(df);
    Lanes::template StoreHalf<Format, stores>(df, lo_a, lo_b, out, lane, n, rounding);
    Lanes::template StoreHalf<Format, stores>(df, hi_a, hi_b, Skip<Lanes>(out, half), lane, n,
                                              rounding);
    sure = !Format::InDoubt(df, rounding);
  }
  if constexpr (part != Part::kQ) {
    if (wanted != Wanted::kOnlyLevels && levels.data == nullptr) return sure;
    if constexpr (part == Part::kK) {
      lo_a = Round::Step(df, lo_a);
      lo_b = Round::Step(df, lo_b);
      hi_a = Round::Step(df, hi_a);
      hi_b = Round::Step(df, hi_b);
    }
    const auto quantise = [&](int i, Float32<DF> value) ROPEKV_INLINE_LAMBDA {
      Float32<DF> scale, shift;
      level(i, scale, shift);
      return Codec::Level(df, value, scale, shift);
    };
    const auto level_lo_a = quantise(0, lo_a);
    const auto level_lo_b = quantise(1, lo_b);
    const auto level_hi_a = quantise(2, hi_a);
    const auto level_hi_b = quantise(3, hi_b);
    Lanes::template StoreLevels<level_stores>(df, level_lo_a, level_lo_b, levels, lane, n);
    Lanes::template StoreLevels<level_stores>(df, level_hi_a, level_hi_b, Skip<Lanes>(levels, half),
                                              lane, n);
    sure &= !Codec::InDoubt(df, level_lo_a, level_lo_b, level_hi_a, level_hi_b);
  }
  return sure;
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_STEP_INL_H_
