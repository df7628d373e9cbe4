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

// Tokens [token, token + count) and, of each head, pairs [first, first + pairs).
struct Tile {
  int64_t token;
  int64_t count;
  int64_t first;
  int64_t pairs;
};

// Tokens are done in tiles, so that what belongs to a channel (scales, biases) is fetched, and its
// reciprocal is worked out, once for all of a tile's tokens:
//
//   for each head, for each step of its pairs, for each token: load, rotate, quantise, store
//
// Where nothing belongs to a channel, a token's heads are the innermost loop. Rows of x and q are
// often multiples of 4096 bytes long, and then the processor takes the load of one token for a
// reader of what it has just stored for another.
inline constexpr int64_t kMaxTile = 8;
// For fewer tokens reciprocals do not pay.
inline constexpr int64_t kMinReciprocalTile = 3;

enum class Part { kQ, kK, kV };

template <DType source, DType output, Numerics numerics, class Lanes, Stores stores, class DF>
class TileKernel {
  using X = Source<source, Lanes>;
  using Param = typename X::template Param<DF>;
  using Round = Rounding<numerics, source>;
  using Rotary = RotateHalf<Round>;
  using Format = OutputFormat<source, output>;
  using Vec = Float32<DF>;
  static constexpr bool kHasReciprocals = Lanes::kDense && HWY_TARGET != HWY_SCALAR;
  using Quick = std::conditional_t<kHasReciprocals, ReciprocalCodec, DivisionCodec>;

 public:
  // Long heads go in blocks of kMaxPairs, the last pulled back like a step.
  static HWY_INLINE void Run(const RowCall& call) {
    const int64_t half = call.head_dim / 2;
    const int64_t pairs = std::min(half, kMaxPairs);
    const int64_t most = Angles::Tokens(DF(), pairs, kMaxTile);
    Angles angles;
    for (int64_t token = 0; token < call.num_tokens; token += most) {
      const int64_t count = std::min(most, call.num_tokens - token);
      for (int64_t block = 0; block < half; block += kMaxPairs) {
        const Tile tile = {token, count, std::min(block, half - pairs), pairs};
        for (int64_t slot = 0; slot < count; ++slot) {
          angles.Load<Lanes, FormatOf<output>>(
              DF(), slot, Skip<Lanes>(RowOf<uint16_t>(call.cos, token + slot, 0), tile.first),
              Skip<Lanes>(RowOf<uint16_t>(call.sin, token + slot, 0), tile.first), half, pairs);
        }
        Heads<Part::kQ, Quick>(call, tile, angles.First());
        if (count >= kMinReciprocalTile) {
          Heads<Part::kK, Quick>(call, tile, angles.First());
          Heads<Part::kV, Quick>(call, tile, angles.First());
        } else {
          Heads<Part::kK, DivisionCodec>(call, tile, angles.First());
          Heads<Part::kV, DivisionCodec>(call, tile, angles.First());
        }
      }
    }
  }

 private:
  template <Part part, class Codec>
  static HWY_NOINLINE void Heads(const RowCall& call, const Tile tile, const float* angles) {
    constexpr bool kHeadsInside = part == Part::kQ && std::is_empty_v<Param>;
    // The levels of a step are not a whole line, and by the next step the others of the tile are in
    // the way: a streaming store would write half lines.
    constexpr bool kStages = part != Part::kQ && stores == Stores::kStreaming;
    HWY_ALIGN int8_t stage[kStages ? kMaxTile * 2 * kMaxPairs : 1];
    const int64_t heads = part == Part::kQ ? call.num_q_heads : call.num_kv_heads;
    for (int64_t i = 0; i < (kHeadsInside ? tile.count : heads); ++i) {
      ForSteps<Lanes>(DF(), tile.pairs, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
        if constexpr (kHeadsInside) {
          Step<part, Codec, true>(call, tile, angles, nullptr, position, lane, 0, i, heads);
        } else {
          Step<part, Codec, false>(call, tile, angles, stage, position, lane, i, 0, tile.count);
        }
      });
      if constexpr (kStages) {
        StreamLevels(part == Part::kK ? call.k_cache : call.v_cache, tile, i, call.head_dim, stage);
      }
    }
  }

  // Copies one head of int8 levels past the caches, in whole lines.
  static HWY_INLINE void StreamLevels(const CacheRows& cache, const Tile tile, int64_t head,
                                      int64_t head_dim, const int8_t* stage) {
    const hn::CappedTag<int8_t, 64> d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t slot = 0; slot < tile.count; ++slot) {
      int8_t* row = cache.rows[tile.token + slot];
      if (row == nullptr) continue;
      for (int64_t lane = 0; lane < head_dim; lane += lanes) {
        hn::Stream(hn::Load(d, stage + slot * head_dim + lane), d,
                   row + head * cache.head_stride + lane);
      }
    }
  }

  // What a codec was in doubt about.
  template <Part part>
  static HWY_NOINLINE void StepByDivision(const RowCall& call, const Tile tile, const float* angles,
                                          int8_t* stage, int64_t position, int64_t lane,
                                          int64_t head, int64_t slot) {
    Step<part, DivisionCodec, false>(call, tile, angles, stage, position, lane, head, slot, 1);
  }

  // One step of pairs, from this head of the tile's token number `slot` on: of `count` heads of
  // this token, or of this head of `count` tokens. All state is in local variables: what is reached
  // through a pointer would be read again after every vector store, which may alias it.
  template <Part part, class Codec, bool kHeadsInside>
  static HWY_INLINE void Step(const RowCall& call, const Tile tile, const float* angles,
                              int8_t* stage, int64_t position, int64_t lane, int64_t head,
                              int64_t slot, int64_t count) {
    const DF df;
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t half = call.head_dim / 2;
    const int64_t n = tile.pairs;
    const int64_t token = tile.token + slot;

    const int64_t heads_before = part == Part::kQ   ? 0
                                 : part == Part::kK ? call.num_q_heads
                                                    : call.num_q_heads + call.num_kv_heads;
    const int64_t channel = (heads_before + head) * call.head_dim + tile.first;
    const int64_t x_stride =
        kHeadsInside ? call.head_dim * call.x.lane_stride : call.x.token_stride;
    X x_lo(call, token, channel, x_stride);
    X x_hi(call, token, channel + half, x_stride);
    Param scale_lo_a, scale_lo_b, scale_hi_a, scale_hi_b, bias_lo_a, bias_lo_b, bias_hi_a,
        bias_hi_b;
    x_lo.LoadParams(df, lane, n, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b);
    x_hi.LoadParams(df, lane, n, scale_hi_a, scale_hi_b, bias_hi_a, bias_hi_b);

    const int64_t room = Angles::TokenRoom(df, n);
    const float* turn = angles + slot * room + 4 * position;

    const RowOutput& out = part == Part::kQ ? call.q : part == Part::kK ? call.k : call.v;
    const int64_t out_stride = kHeadsInside ? out.head_stride : out.token_stride;
    auto out_lo = Skip<Lanes>(RowOf<uint16_t>(out, token, head), tile.first);
    auto out_hi = Skip<Lanes>(out_lo, half);

    const CacheRows& cache = part == Part::kK ? call.k_cache : call.v_cache;
    int8_t* const* rows = cache.rows + token;
    const int64_t cache_stride = cache.lane_stride;
    const int64_t cache_offset = head * cache.head_stride + tile.first * cache_stride;
    if constexpr (part != Part::kQ && stores == Stores::kStreaming) stage += slot * call.head_dim;
    Vec level_lo_a, level_lo_b, level_hi_a, level_hi_b, shift_lo_a, shift_lo_b, shift_hi_a,
        shift_hi_b;
    if constexpr (part != Part::kQ) {
      const auto prepare = [&](int64_t first, Vec& scale_a, Vec& scale_b, Vec& offset_a,
                               Vec& offset_b) ROPEKV_INLINE_LAMBDA {
        const RowInput& scale = part == Part::kK ? call.scale_k : call.scale_v;
        const RowInput& offset = part == Part::kK ? call.offset_k : call.offset_v;
        Lanes::Load(df, Skip<Lanes>(RowOf<float>(scale, 0, head), first), lane, n, scale_a,
                    scale_b);
        offset_a = offset_b = hn::Set(df, -0.0f);
        if (offset.data) {
          Lanes::Load(df, Skip<Lanes>(RowOf<float>(offset, 0, head), first), lane, n, offset_a,
                      offset_b);
        }
        Codec::Prepare(df, scale_a, offset_a);
        Codec::Prepare(df, scale_b, offset_b);
      };
      prepare(tile.first, level_lo_a, level_lo_b, shift_lo_a, shift_lo_b);
      prepare(half + tile.first, level_hi_a, level_hi_b, shift_hi_a, shift_hi_b);
    }

    for (int64_t i = 0; i < count; ++i) {
      Vec lo_a, lo_b, hi_a, hi_b;
      x_lo.Load(df, lane, n, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b, lo_a, lo_b);
      x_hi.Load(df, lane, n, scale_hi_a, scale_hi_b, bias_hi_a, bias_hi_b, hi_a, hi_b);
      if constexpr (stores == Stores::kStreaming) {
        x_lo.Prefetch(kMaxTile * call.x.token_stride + lane, 2 * lanes);
        x_hi.Prefetch(kMaxTile * call.x.token_stride + lane, 2 * lanes);
      }
      if constexpr (part != Part::kV) {
        Rotary::Rotate(df, turn, lo_a, hi_a);
        Rotary::Rotate(df, turn + lanes, lo_b, hi_b);
        if constexpr (!kHeadsInside) turn += room;
      }
      if (part == Part::kQ || out_lo.data) {
        Lanes::template StoreHalf<Format, stores>(df, lo_a, lo_b, out_lo, lane, n);
        Lanes::template StoreHalf<Format, stores>(df, hi_a, hi_b, out_hi, lane, n);
        out_lo.data += out_stride;
        out_hi.data += out_stride;
      }
      x_lo.Next();
      x_hi.Next();
      if constexpr (part != Part::kQ) {
        int8_t* row = rows[i];
        if (row == nullptr) continue;
        row = stores == Stores::kStreaming ? stage + i * call.head_dim : row + cache_offset;
        if constexpr (part == Part::kK) {
          lo_a = Round::Step(df, lo_a);
          lo_b = Round::Step(df, lo_b);
          hi_a = Round::Step(df, hi_a);
          hi_b = Round::Step(df, hi_b);
        }
        auto doubt = Codec::NoDoubt(df);
        Lanes::template StoreLevels<Stores::kOrdinary>(
            df, Codec::Level(df, lo_a, level_lo_a, shift_lo_a, doubt),
            Codec::Level(df, lo_b, level_lo_b, shift_lo_b, doubt), Row<int8_t>{row, cache_stride},
            lane, n);
        Lanes::template StoreLevels<Stores::kOrdinary>(
            df, Codec::Level(df, hi_a, level_hi_a, shift_hi_a, doubt),
            Codec::Level(df, hi_b, level_hi_b, shift_hi_b, doubt),
            Row<int8_t>{row + half * cache_stride, cache_stride}, lane, n);
        if (Codec::InDoubt(df, doubt)) {
          StepByDivision<part>(call, tile, angles, stage, position, lane, head, slot + i);
        }
      }
    }
  }
};

// Streaming stores must write whole lines.
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

template <DType source, DType output, Numerics numerics, class Lanes, class DF>
void RunTokens(const RowCall& call) {
  constexpr bool kBothBF16 = source == DType::kBF16 && output == DType::kBF16;
  using L = std::conditional_t<kBothBF16 && Lanes::kDense, EvenOddLanes, Lanes>;
  if constexpr (Lanes::kDense) {
    if (call.beyond_caches && MayStream(DF(), call)) {
      TileKernel<source, output, numerics, L, Stores::kStreaming, DF>::Run(call);
      return hwy::FlushStream();
    }
  }
  TileKernel<source, output, numerics, L, Stores::kOrdinary, DF>::Run(call);
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
