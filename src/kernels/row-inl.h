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

// Tokens whose heads are done together, head by head, so that what belongs to a head (scales, biases)
// is fetched, and its reciprocals are worked out, once for all of them.
inline constexpr int64_t kMaxTile = 16;
// For fewer tokens reciprocals do not pay.
inline constexpr int64_t kMinReciprocalTile = 3;

// Tokens [token, token + count) and, of each head, pairs [first, first + pairs).
struct Tile {
  int64_t token;
  int64_t count;
  int64_t first;
  int64_t pairs;
};

// All state is in local variables: what is reached through a pointer would be read again after every
// vector store, since those may alias anything.
template <DType source, DType output, Numerics numerics, class Lanes, Stores stores, class DF>
class TileKernel {
  using X = Source<source, Lanes>;
  using Round = Rounding<numerics, source>;
  using Rotary = RotateHalf<Round>;
  using Format = OutputFormat<source, output>;
  using Vec = Float32<DF>;
  using Exact = DivisionCodec<Lanes, stores>;
  using Quick = ReciprocalCodec<Lanes, stores>;
  static constexpr bool kHasQuick = Lanes::kDense && HWY_TARGET != HWY_SCALAR;

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
        QHeads(call, tile, angles.First());
        KvHeads<true>(call, tile, angles.First());
        KvHeads<false>(call, tile, angles.First());
      }
    }
  }

 private:
  static HWY_NOINLINE void QHeads(const RowCall& call, const Tile tile, const float* angles) {
    // Parameters of a head are read once for all tokens; without any, a token's heads follow each
    // other as they lie in memory.
    constexpr bool kHeadByHead = X::kHasParameters;
    const int64_t half = call.head_dim / 2;
    const int64_t room = Angles::TokenRoom(DF(), tile.pairs);
    const int64_t outer = kHeadByHead ? call.num_q_heads : tile.count;
    const int64_t inner = kHeadByHead ? tile.count : call.num_q_heads;
    const int64_t q_stride = kHeadByHead ? call.q.token_stride : call.q.head_stride;
    for (int64_t i = 0; i < outer; ++i) {
      const int64_t token = tile.token + (kHeadByHead ? 0 : i);
      const int64_t head = kHeadByHead ? i : 0;
      X x(call, token, head * 2 * half + tile.first);
      auto q = Skip<Lanes>(RowOf<uint16_t>(call.q, token, head), tile.first);
      const float* turn = angles + (kHeadByHead ? 0 : i * room);
      for (int64_t j = 0; j < inner; ++j) {
        const auto q_hi = Skip<Lanes>(q, half);
        ForPairs<true>(
            x, half, tile.pairs, turn,
            [=](Vec lo_a, Vec lo_b, Vec hi_a, Vec hi_b, int64_t, int64_t lane) ROPEKV_INLINE_LAMBDA {
              Lanes::template StoreHalf<Format, stores>(DF(), lo_a, lo_b, q, lane, tile.pairs);
              Lanes::template StoreHalf<Format, stores>(DF(), hi_a, hi_b, q_hi, lane, tile.pairs);
            });
        q.data += q_stride;
        if constexpr (kHeadByHead) {
          x.NextToken();
          turn += room;
        } else {
          x = x.Channels(2 * half);
        }
      }
    }
  }

  // The heads of k, which are rotated, or of v.
  template <bool kIsK>
  static HWY_NOINLINE void KvHeads(const RowCall& call, const Tile tile, const float* angles) {
    const int64_t half = call.head_dim / 2;
    const int64_t room = Angles::TokenRoom(DF(), tile.pairs);
    const bool quick = kHasQuick && tile.count >= kMinReciprocalTile;
    Quick codec;
    for (int64_t head = 0; head < call.num_kv_heads; ++head) {
      if constexpr (kHasQuick) {
        if (quick) codec.Prepare(DF(), ExactCodec<kIsK>(call, tile, head), tile.pairs);
      }
      X x(call, tile.token, XChannel<kIsK>(call, tile, head));
      for (int64_t slot = 0; slot < tile.count; ++slot) {
        const Place to = PlaceOf<kIsK>(call, tile, head, slot);
        bool done = false;
        if constexpr (kHasQuick) {
          done = quick && to.levels.data && Quantise<kIsK>(x, angles + slot * room, half, codec, to);
        }
        if (!done) QuantiseExactly<kIsK>(call, tile, head, slot, angles + slot * room);
        x.NextToken();
      }
    }
  }

  // Where one token's head of k or v goes, from the tile's first pair on; either may be absent.
  struct Place {
    Row<int8_t> levels;
    Row<uint16_t> kv;
    int64_t pairs;
  };

  template <bool kIsK>
  static HWY_INLINE Place PlaceOf(const RowCall& call, const Tile tile, int64_t head,
                                  int64_t slot) {
    const CacheRows& cache = kIsK ? call.k_cache : call.v_cache;
    int8_t* row = cache.rows[tile.token + slot];
    if (row) row += head * cache.head_stride + tile.first * cache.lane_stride;
    return {{row, cache.lane_stride},
            Skip<Lanes>(RowOf<uint16_t>(kIsK ? call.k : call.v, tile.token + slot, head),
                        tile.first),
            tile.pairs};
  }

  template <bool kIsK>
  static HWY_INLINE int64_t XChannel(const RowCall& call, const Tile tile, int64_t head) {
    const int64_t first_head = call.num_q_heads + (kIsK ? 0 : call.num_kv_heads);
    return (first_head + head) * call.head_dim + tile.first;
  }

  template <bool kIsK>
  static HWY_INLINE Exact ExactCodec(const RowCall& call, const Tile tile, int64_t head) {
    const RowInput& scale = kIsK ? call.scale_k : call.scale_v;
    const RowInput& offset = kIsK ? call.offset_k : call.offset_v;
    return {Skip<Lanes>(RowOf<float>(scale, 0, head), tile.first),
            Skip<Lanes>(RowOf<float>(offset, 0, head), tile.first), call.head_dim / 2};
  }

  // Takes nothing by reference that the caller keeps in registers.
  template <bool kIsK>
  static HWY_NOINLINE void QuantiseExactly(const RowCall& call, const Tile tile, int64_t head,
                                           int64_t slot, const float* turn) {
    const X x(call, tile.token + slot, XChannel<kIsK>(call, tile, head));
    (void)Quantise<kIsK>(x, turn, call.head_dim / 2, ExactCodec<kIsK>(call, tile, head),
                         PlaceOf<kIsK>(call, tile, head, slot));
  }

  // False if the codec is in doubt about the result.
  template <bool kIsK, class Codec>
  static HWY_INLINE bool Quantise(const X& x, const float* turn, int64_t half, const Codec& codec,
                                  const Place& to) {
    auto doubt = Codec::NoDoubt(DF());
    const int64_t pairs = to.pairs;
    const auto levels = to.levels;
    const auto kv = to.kv;
    const auto levels_hi = Skip<Lanes>(levels, half);
    const auto kv_hi = Skip<Lanes>(kv, half);
    ForPairs<kIsK>(
        x, half, pairs, turn,
        [&](Vec lo_a, Vec lo_b, Vec hi_a, Vec hi_b, int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
          if (kv.data) {
            Lanes::template StoreHalf<Format, stores>(DF(), lo_a, lo_b, kv, lane, pairs);
            Lanes::template StoreHalf<Format, stores>(DF(), hi_a, hi_b, kv_hi, lane, pairs);
          }
          if (levels.data == nullptr) return;
          if constexpr (kIsK) {
            lo_a = Round::Step(DF(), lo_a);
            lo_b = Round::Step(DF(), lo_b);
            hi_a = Round::Step(DF(), hi_a);
            hi_b = Round::Step(DF(), hi_b);
          }
          codec.template Store<0>(DF(), lo_a, lo_b, levels, position, lane, pairs, doubt);
          codec.template Store<1>(DF(), hi_a, hi_b, levels_hi, position, lane, pairs, doubt);
        });
    return !Codec::InDoubt(DF(), doubt);
  }

  // Hands both halves of a head, of which x is at the first pair, rotated if kTurned, to
  // store(lo_a, lo_b, hi_a, hi_b, position, lane).
  template <bool kTurned, class StoreFn>
  static HWY_INLINE void ForPairs(const X& x, int64_t half, int64_t pairs, const float* turn,
                                  const StoreFn& store) {
    const X x_hi = x.Channels(half);
    if (stores == Stores::kStreaming) x.PrefetchTokens(kMaxTile, 2 * half);
    const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
    ForSteps<Lanes>(DF(), pairs, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
      Vec lo_a, lo_b, hi_a, hi_b;
      x.Load(DF(), lane, pairs, lo_a, lo_b);
      x_hi.Load(DF(), lane, pairs, hi_a, hi_b);
      if constexpr (kTurned) {
        Rotary::Rotate(DF(), turn + 4 * position, lo_a, hi_a);
        Rotary::Rotate(DF(), turn + 4 * position + lanes, lo_b, hi_b);
      }
      store(lo_a, lo_b, hi_a, hi_b, position, lane);
    });
  }
};

// Streaming stores need aligned addresses.
template <class DF>
bool MayStream(DF df, const RowCall& call) {
  const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(df));
  if (call.head_dim / 2 % step != 0) return false;
  for (const RowOutput& out : {call.q, call.k, call.v}) {
    if ((reinterpret_cast<intptr_t>(out.data) | 2 * out.token_stride | 2 * out.head_stride) %
        (2 * step)) {
      return false;
    }
  }
  for (const CacheRows& cache : {call.k_cache, call.v_cache}) {
    intptr_t bits = cache.head_stride;
    for (int64_t t = 0; t < call.num_tokens; ++t) bits |= reinterpret_cast<intptr_t>(cache.rows[t]);
    if (bits % step) return false;
  }
  return true;
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
