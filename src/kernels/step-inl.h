// SPDX-License-Identifier: Apache-2.0
// The fused body: what becomes of a step of one token's head once its lanes are read.
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

// How values are rounded: to int8 and to 16 bits.
template <class CodecT, class FormatT>
struct Way {
  using Codec = CodecT;
  using Format = FormatT;
};

template <DType source, DType output, Numerics numerics, class LanesT, class QuickFormat>
struct Variant {
  using Lanes = LanesT;
  using X = Source<source, Lanes>;
  using Round = Rounding<numerics, source>;
  using Rotary = RotateHalf<Round>;
  using AnglesFormat = FormatOf<output>;

  static constexpr DType kSource = source;
  static constexpr bool kHasReciprocals = Lanes::kDense && HWY_TARGET != HWY_SCALAR;
  using QuickCodec = std::conditional_t<kHasReciprocals, ReciprocalCodec, DivisionCodec>;

  using Quick = Way<QuickCodec, QuickFormat>;
  using FewTokens = Way<DivisionCodec, QuickFormat>;  // too few for reciprocals to pay
  using Sure = Way<DivisionCodec, OutputFormat<source, output>>;
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

// Rotates, rounds, quantises and stores a step of a head: lanes of its lower and of its upper half.
// `angles` is where Angles keeps the step. A row without data is not wanted. For the vector number
// i of the four, level(i, scale, shift) gives what Codec::Prepare made.
//
// Returns false if something was in doubt: then the step is to be done again, the Sure way.
template <class V, Part part, class W, Stores stores, Stores level_stores, class DF, class Level>
HWY_INLINE bool FinishStep(DF df, Float32<DF> lo_a, Float32<DF> lo_b, Float32<DF> hi_a,
                           Float32<DF> hi_b, const float* angles, Row<uint16_t> out_lo,
                           Row<uint16_t> out_hi, Row<int8_t> levels_lo, Row<int8_t> levels_hi,
                           int64_t lane, int64_t n, const Level& level) {
  using Lanes = typename V::Lanes;
  using Format = typename W::Format;
  using Codec = typename W::Codec;
  using Round = typename V::Round;
  if constexpr (part != Part::kV) {
    V::Rotary::Rotate(df, angles, lo_a, hi_a);
    V::Rotary::Rotate(df, angles + hn::Lanes(df), lo_b, hi_b);
  }
  auto rounding = Format::NoDoubt(df);
  if (part == Part::kQ || out_lo.data) {
    Lanes::template StoreHalf<Format, stores>(df, lo_a, lo_b, out_lo, lane, n, rounding);
    Lanes::template StoreHalf<Format, stores>(df, hi_a, hi_b, out_hi, lane, n, rounding);
  }
  const bool rounded = !Format::InDoubt(df, rounding);
  if constexpr (part == Part::kQ) {
    return rounded;
  } else {
    if (levels_lo.data == nullptr) return rounded;
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
    // Before any is stored: half a line streamed twice is a slow thing.
    if (!rounded || Codec::InDoubt(df, level_lo_a, level_lo_b, level_hi_a, level_hi_b))
      return false;
    Lanes::template StoreLevels<level_stores>(df, level_lo_a, level_lo_b, levels_lo, lane, n);
    Lanes::template StoreLevels<level_stores>(df, level_hi_a, level_hi_b, levels_hi, lane, n);
    return true;
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_STEP_INL_H_
