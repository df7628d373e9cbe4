// SPDX-License-Identifier: Apache-2.0
// In the order of memory: 16-bit x, to which nothing belongs but scales and offsets of the caches
// (if there are many of those, k and v go in tiles all the same); and of one or two tokens any x.
//
//   for each token, for each head, for each step of its pairs: load, rotate, quantise, store
#if defined(ROPEKV_KERNELS_IN_ORDER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_IN_ORDER_INL_H_
#undef ROPEKV_KERNELS_IN_ORDER_INL_H_
#else
#define ROPEKV_KERNELS_IN_ORDER_INL_H_
#endif

#include <algorithm>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/rotary-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"
#include "kernels/step-inl.h"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// What Codec::Prepare makes of the scales and offsets of a cache: for each head and step of pairs
//
//   lo_a | lo_b | hi_a | hi_b      each a vector
template <Part part, class Lanes, class Codec, class DF>
class ScaleTable {
 public:
  // Whether there are at most this many channels, those of pulled back steps counted twice.
  static bool Holds(const RowCall& call, int64_t channels) {
    return call.num_kv_heads * HeadRoom(call.head_dim / 2) <= std::min(channels, kRoom);
  }

  explicit HWY_INLINE ScaleTable(const RowCall& call)
      : shift_stride_(Of<part>::Offset(call).data ? hn::Lanes(DF()) : 0) {
    const DF df;
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t half = call.head_dim / 2;
    float* scales = scales_;
    float* shifts = shifts_;
    for (int64_t head = 0; head < call.num_kv_heads; ++head) {
      ForSteps<Lanes>(df, half, [&](int64_t, int64_t lane) ROPEKV_INLINE_LAMBDA {
        for (const int64_t first : {int64_t{0}, half}) {
          Float32<DF> scale_a, scale_b, shift_a, shift_b;
          LoadScales<part, Lanes, Codec>(df, call, head, first, lane, half, scale_a, scale_b,
                                         shift_a, shift_b);
          hn::Store(scale_a, df, scales);
          hn::Store(scale_b, df, scales + lanes);
          hn::Store(shift_a, df, shifts);
          hn::Store(shift_b, df, shifts + shift_stride_);
          scales += 2 * lanes;
          shifts += 2 * shift_stride_;
        }
      });
    }
  }

  const float* scales() const { return scales_; }
  const float* shifts() const { return shifts_; }
  // From one vector of shifts to the next. 0: there are no offsets, and all are the same.
  int64_t shift_stride() const { return shift_stride_; }

 private:
  // Enough for 64 heads of 128.
  static constexpr int64_t kRoom = 64 * 128;

  static int64_t HeadRoom(int64_t half) {
    const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(DF()));
    return 2 * ((half + step - 1) / step * step);
  }

  HWY_ALIGN float scales_[kRoom];
  HWY_ALIGN float shifts_[kRoom];
  int64_t shift_stride_;
};

template <class V, Stores stores, class DF>
class InOrderKernel {
  using Lanes = typename V::Lanes;
  template <Part part>
  using Table = ScaleTable<part, Lanes, typename V::Quick::Codec, DF>;
  using Tiles = TileKernel<V, stores, DF>;
  using X = typename V::X;
  using Param = typename X::template Param<DF>;
  using Vec = Float32<DF>;
  // Elements of x. Just far enough for the lines to be asked for in the order of memory, in which
  // steps do not meet them; what comes later the processor fetches by itself. 0, and distances from
  // 512 on, took 5 to 15 % longer.
  static constexpr int64_t kAskAhead = 192;
  static constexpr bool kAsk = stores == Stores::kStreaming;
  // Up to so many channels tables serve better than tiles, measured with 8 to 40 kv heads of 128.
  static constexpr int64_t kTableRoom = (kAsk ? 24 : 64) * 128;

 public:
  static bool Takes(const RowCall& call) {
    return call.head_dim <= 2 * kMaxPairs && (V::kSource != DType::kI32 || IsShort(call));
  }

  static HWY_INLINE void Run(const RowCall& call) {
    if (V::kSource == DType::kI32 || IsShort(call) || !Table<Part::kK>::Holds(call, kTableRoom)) {
      RunWithTiles(call);
    } else {
      RunWithTables(call);
    }
  }

 private:
  static bool IsShort(const RowCall& call) { return call.num_tokens < kMinReciprocalTile; }

  static HWY_INLINE void RunWithTables(const RowCall& call) {
    const Table<Part::kK> k_table(call);
    const Table<Part::kV> v_table(call);
    Angles angles;
    for (int64_t token = 0; token < call.num_tokens; ++token) {
      const float* turn = LoadAngles(call, token, 0, angles);
      Heads<Part::kQ>(call, token, turn, nullptr);
      if (kAsk && token + 1 < call.num_tokens) AskForPages(call, token + 1);
      Heads<Part::kK>(call, token, turn, &k_table);
      Heads<Part::kV>(call, token, turn, &v_table);
    }
  }

  // q in order, k and v in tiles.
  static HWY_INLINE void RunWithTiles(const RowCall& call) {
    const int64_t half = call.head_dim / 2;
    const int64_t most = Angles::Tokens(DF(), half, kMaxTile);
    Angles angles;
    for (int64_t token = 0; token < call.num_tokens; token += most) {
      const Tile tile = {token, std::min(most, call.num_tokens - token), 0, half};
      for (int64_t slot = 0; slot < tile.count; ++slot) {
        const float* turn = LoadAngles(call, token + slot, slot, angles);
        Heads<Part::kQ>(call, token + slot, turn, nullptr);
        if (kAsk && token + slot + 1 < call.num_tokens) AskForPages(call, token + slot + 1);
      }
      Tiles::KAndV(call, tile, angles.First());
    }
  }

  static HWY_INLINE const float* LoadAngles(const RowCall& call, int64_t token, int64_t slot,
                                            Angles& angles) {
    const int64_t half = call.head_dim / 2;
    angles.Load<Lanes, typename V::AnglesFormat>(DF(), slot, RowOf<uint16_t>(call.cos, token, 0),
                                                 RowOf<uint16_t>(call.sin, token, 0), half, half);
    if (kAsk && token + 2 < call.num_tokens) AskForAngles(call, token + 2);
    return angles.First() + slot * Angles::TokenRoom(DF(), half);
  }

  // Angles are too few a token for the processor to fetch them by itself.
  static HWY_INLINE void AskForAngles(const RowCall& call, int64_t token) {
    PrefetchLanes<2>(RowOf<uint16_t>(call.cos, token, 0).data, 0, call.head_dim);
    PrefetchLanes<2>(RowOf<uint16_t>(call.sin, token, 0).data, 0, call.head_dim);
  }

  // A store to a page whose address has yet to be looked up holds up all that follow: one line of
  // each page makes the processor look early. Not of x: there it led the prefetcher astray.
  static HWY_INLINE void AskForPages(const RowCall& call, int64_t token) {
    // Always inline: g++ finds that a function of prefetches does nothing, and calls it not.
    const auto ask = [](const void* row, int64_t heads, int64_t stride) ROPEKV_INLINE_LAMBDA {
      constexpr int64_t kPage = 4096;
      const int64_t step = std::max<int64_t>(1, kPage / std::max<int64_t>(1, stride));
      for (int64_t head = 0; row != nullptr && head < heads; head += step) {
        __builtin_prefetch(static_cast<const char*>(row) + head * stride, 1);
      }
    };
    const auto ask_output = [&](const RowOutput& out, int64_t heads) ROPEKV_INLINE_LAMBDA {
      ask(RowOf<uint16_t>(out, token, 0).data, heads, 2 * out.head_stride);
    };
    ask_output(call.q, call.num_q_heads);
    ask_output(call.k, call.num_kv_heads);
    ask_output(call.v, call.num_kv_heads);
    ask(call.k_cache.rows[token], call.num_kv_heads, call.k_cache.head_stride);
    ask(call.v_cache.rows[token], call.num_kv_heads, call.v_cache.head_stride);
  }

  // A function of its own, for the sake of registers.
  template <Part part>
  static HWY_NOINLINE void Heads(const RowCall& call, int64_t token, const float* angles,
                                 const Table<part>* table) {
    const DF df;
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t head_dim = call.head_dim;
    const int64_t half = head_dim / 2;
    X x_lo(call, token, Of<part>::FirstChannel(call));
    X x_hi(call, token, Of<part>::FirstChannel(call) + half);
    const RowOutput& out_rows = Of<part>::Output(call);
    auto out = RowOf<uint16_t>(out_rows, token, 0);
    const int64_t out_stride = out.data ? out_rows.head_stride : 0;

    const CacheRows& cache = Of<part>::Cache(call);
    int8_t* const row = part == Part::kQ ? nullptr : cache.rows[token];
    Row<int8_t> levels = {row, 1};
    const int64_t levels_stride = row ? cache.head_stride : 0;
    const float* scales = part == Part::kQ ? nullptr : table->scales();
    const float* shifts = part == Part::kQ ? nullptr : table->shifts();
    const int64_t shift_stride = part == Part::kQ ? 0 : table->shift_stride();

    for (int64_t head = 0; head < Of<part>::Heads(call); ++head) {
      ForSteps<Lanes>(df, half, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
        if constexpr (stores == Stores::kStreaming) {
          x_lo.template Prefetch<0>(kAskAhead + 2 * position, 4 * lanes);
        }
        Param scale_a, scale_b, bias_a, bias_b;
        Vec lo_a, lo_b, hi_a, hi_b;
        x_lo.LoadParams(df, lane, half, scale_a, scale_b, bias_a, bias_b);
        x_lo.Load(df, lane, half, scale_a, scale_b, bias_a, bias_b, lo_a, lo_b);
        x_hi.LoadParams(df, lane, half, scale_a, scale_b, bias_a, bias_b);
        x_hi.Load(df, lane, half, scale_a, scale_b, bias_a, bias_b, hi_a, hi_b);
        const auto level = [&](int i, Vec& scale, Vec& shift) ROPEKV_INLINE_LAMBDA {
          scale = hn::Load(df, scales + i * lanes);
          shift = hn::Load(df, shifts + i * shift_stride);
        };
        if (HWY_UNLIKELY(!(FinishStep<V, part, typename V::Quick, stores, stores>(
                df, lo_a, lo_b, hi_a, hi_b, angles + 4 * position, out, Skip<Lanes>(out, half),
                levels, Skip<Lanes>(levels, half), lane, half, level)))) {
          Tiles::template Redo<part, stores, stores>(call, Tile{token, 1, 0, half}, angles,
                                                     typename Tiles::Stage{nullptr, levels.data},
                                                     position, lane, head);
        }
        if constexpr (part != Part::kQ) {
          scales += 4 * lanes;
          shifts += 4 * shift_stride;
        }
      });
      x_lo.NextHead(head_dim);
      x_hi.NextHead(head_dim);
      out.data += out_stride;
      levels.data += levels_stride;
    }
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_IN_ORDER_INL_H_
