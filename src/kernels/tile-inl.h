// SPDX-License-Identifier: Apache-2.0
// Tokens in tiles, so that what belongs to a channel (scales, biases) is fetched, and its
// reciprocal is worked out, once for all of a tile's tokens:
//
//   for each head, for each step of its pairs, for each token: load, rotate, quantise, store
#if defined(ROPEKV_KERNELS_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_TILE_INL_H_
#undef ROPEKV_KERNELS_TILE_INL_H_
#else
#define ROPEKV_KERNELS_TILE_INL_H_
#endif

#include <algorithm>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/rotary-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"
#include "kernels/step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Tokens [token, token + count) and, of each head, pairs [first, first + pairs).
struct Tile {
  int64_t token;
  int64_t count;
  int64_t first;
  int64_t pairs;
};

// More would not fit into Angles, nor those into the first-level cache.
inline constexpr int64_t kMaxTile = 16;
// For fewer tokens reciprocals do not pay.
inline constexpr int64_t kMinReciprocalTile = 3;

template <class V, Stores stores, class DF>
class TileKernel {
  using Lanes = typename V::Lanes;
  using X = typename V::X;
  using Param = typename X::template Param<DF>;
  using Vec = Float32<DF>;

 public:
  // All of a call, or only k and v. Long heads go in blocks of kMaxPairs, the last pulled back like
  // a step.
  template <bool with_q>
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
          angles.Load<Lanes, typename V::AnglesFormat>(DF(), slot, call, token + slot, tile.first,
                                                       pairs);
        }
        if constexpr (with_q) Heads<Part::kQ, typename V::Quick>(call, tile, angles.First());
        if (count >= kMinReciprocalTile) {
          Heads<Part::kK, typename V::Quick>(call, tile, angles.First());
          Heads<Part::kV, typename V::Quick>(call, tile, angles.First());
        } else {
          Heads<Part::kK, typename V::FewTokens>(call, tile, angles.First());
          Heads<Part::kV, typename V::FewTokens>(call, tile, angles.First());
        }
      }
    }
  }

  // Where the outputs of a head go first, a tile's tokens one after another; null: not there. By
  // the next step of a head the other tokens of the tile would be in the way, and a streaming store
  // of half a line costs as much as one of a line.
  struct Stage {
    uint16_t* out = nullptr;
    int8_t* levels = nullptr;

    Stage Of(int64_t slot, int64_t head_dim) const {
      return {out ? out + slot * head_dim : nullptr, levels ? levels + slot * head_dim : nullptr};
    }
  };

  // Does again what was in doubt: one step of one token's head.
  template <Part part, Stores out_stores, Stores level_stores>
  static HWY_NOINLINE void Redo(const RowCall& call, const Tile tile, const float* angles,
                                const Stage stage, int64_t position, int64_t lane, int64_t head) {
    Step<part, typename V::Sure, out_stores, level_stores>(call, tile, angles, stage, position,
                                                           lane, head);
  }

 private:
  template <Part part, class W>
  static HWY_NOINLINE void Heads(const RowCall& call, const Tile tile, const float* angles) {
    constexpr bool kLevels = part != Part::kQ && stores == Stores::kStreaming;
    constexpr bool kOut = HWY_ARCH_X86 && stores == Stores::kStreaming && hn::MaxLanes(DF()) < 16;
    HWY_ALIGN uint16_t out_stage[kOut ? kMaxTile * 2 * kMaxPairs : 1];
    HWY_ALIGN int8_t level_stage[kLevels ? kMaxTile * 2 * kMaxPairs : 1];
    const Stage stage = {kOut ? out_stage : nullptr, kLevels ? level_stage : nullptr};
    for (int64_t head = 0; head < Of<part>::Heads(call); ++head) {
      ForSteps<Lanes>(DF(), tile.pairs, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
        Step<part, W, kOut ? Stores::kOrdinary : stores, Stores::kOrdinary>(
            call, tile, angles, stage, position, lane, head);
      });
      for (int64_t slot = 0; kOut && slot < tile.count; ++slot) {
        StreamLines(out_stage + slot * call.head_dim, call.head_dim,
                    RowOf<uint16_t>(Of<part>::Output(call), tile.token + slot, head).data);
      }
      for (int64_t slot = 0; kLevels && slot < tile.count; ++slot) {
        const CacheRows& cache = Of<part>::Cache(call);
        int8_t* row = cache.rows[tile.token + slot];
        StreamLines(level_stage + slot * call.head_dim, call.head_dim,
                    row ? row + head * cache.head_stride : nullptr);
      }
    }
  }

  template <class T>
  static HWY_INLINE void StreamLines(const T* from, int64_t count, T* to) {
    const hn::CappedTag<T, 64 / sizeof(T)> d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t i = 0; to != nullptr && i < count; i += lanes) {
      hn::Stream(hn::Load(d, from + i), d, to + i);
    }
  }

  // One step of pairs of this head of the tile's tokens. All state is in local variables: what is
  // reached through a pointer would be read again after every vector store, which may alias it.
  template <Part part, class W, Stores out_stores, Stores level_stores>
  static HWY_INLINE void Step(const RowCall& call, const Tile tile, const float* angles,
                              const Stage stage, int64_t position, int64_t lane, int64_t head) {
    using Codec = typename W::Codec;
    const DF df;
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t half = call.head_dim / 2;
    const int64_t n = tile.pairs;

    const int64_t channel = Of<part>::FirstChannel(call) + head * call.head_dim + tile.first;
    X x_lo(call, tile.token, channel);
    X x_hi(call, tile.token, channel + half);
    Param scale_lo_a, scale_lo_b, scale_hi_a, scale_hi_b, bias_lo_a, bias_lo_b, bias_hi_a,
        bias_hi_b;
    x_lo.LoadParams(df, lane, n, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b);
    x_hi.LoadParams(df, lane, n, scale_hi_a, scale_hi_b, bias_hi_a, bias_hi_b);

    const int64_t room = Angles::TokenRoom(df, n);
    const RowOutput& out = Of<part>::Output(call);
    auto out_row = Skip<Lanes>(RowOf<uint16_t>(out, tile.token, head), tile.first);
    if (stage.out && out_row.data) out_row.data = stage.out;
    const int64_t out_stride = stage.out ? call.head_dim : out.token_stride;

    const CacheRows& cache = Of<part>::Cache(call);
    int8_t* const* rows = cache.rows + tile.token;
    const int64_t cache_stride = cache.lane_stride;
    const int64_t cache_offset = head * cache.head_stride + tile.first * cache_stride;
    Vec level_lo_a, level_lo_b, level_hi_a, level_hi_b, shift_lo_a, shift_lo_b, shift_hi_a,
        shift_hi_b;
    if constexpr (part != Part::kQ) {
      LoadScales<part, Lanes, Codec>(df, call, head, tile.first, lane, n, level_lo_a, level_lo_b,
                                     shift_lo_a, shift_lo_b);
      LoadScales<part, Lanes, Codec>(df, call, head, half + tile.first, lane, n, level_hi_a,
                                     level_hi_b, shift_hi_a, shift_hi_b);
    }
    const auto level = [&](int i, Vec& scale, Vec& shift) ROPEKV_INLINE_LAMBDA {
      scale = i == 0 ? level_lo_a : i == 1 ? level_lo_b : i == 2 ? level_hi_a : level_hi_b;
      shift = i == 0 ? shift_lo_a : i == 1 ? shift_lo_b : i == 2 ? shift_hi_a : shift_hi_b;
    };

    unsigned doubts = 0;
    for (int64_t i = 0; i < tile.count; ++i) {
      Vec lo_a, lo_b, hi_a, hi_b;
      x_lo.Load(df, lane, n, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b, lo_a, lo_b);
      x_hi.Load(df, lane, n, scale_hi_a, scale_hi_b, bias_hi_a, bias_hi_b, hi_a, hi_b);
      if constexpr (stores == Stores::kStreaming) {
        x_lo.template Prefetch<2>(kMaxTile * call.x.token_stride + lane, 2 * lanes);
        x_hi.template Prefetch<2>(kMaxTile * call.x.token_stride + lane, 2 * lanes);
      }
      x_lo.NextToken();
      x_hi.NextToken();
      Row<int8_t> levels = {nullptr, cache_stride};
      if constexpr (part != Part::kQ) {
        if (int8_t* row = rows[i]) {
          levels.data = stage.levels ? stage.levels + i * call.head_dim : row + cache_offset;
        }
      }
      RotateStep<V, part, W>(df, angles + i * room + 4 * position, lo_a, lo_b, hi_a, hi_b);
      const bool sure = FinishStep<V, part, W, Wanted::kWhatThereIs, out_stores, level_stores>(
          df, lo_a, lo_b, hi_a, hi_b, out_row, levels, lane, n, half, level);
      if (HWY_UNLIKELY(!sure)) doubts |= 1u << i;
      if (out_row.data) out_row.data += out_stride;
    }
    for (; HWY_UNLIKELY(doubts != 0); doubts &= doubts - 1) {
      const int i = __builtin_ctz(doubts);
      Redo<part, out_stores, level_stores>(call, Tile{tile.token + i, 1, tile.first, n},
                                           angles + i * room, stage.Of(i, call.head_dim), position,
                                           lane, head);
    }
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_TILE_INL_H_
