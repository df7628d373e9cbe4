// SPDX-License-Identifier: Apache-2.0
// Beyond the caches, in the order of memory: 16-bit x, to whose channels nothing belongs but scales
// and offsets of the caches. (If there are many of those, k and v go in tiles all the same.)
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
#include "kernels/table-inl.h"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

template <class V, class DF>
class InOrderKernel {
  using Lanes = typename V::Lanes;
  template <Part part>
  using Table = ScaleTable<part, Lanes, typename V::Quick::Codec, DF>;
  using Tiles = TileKernel<V, Stores::kStreaming, DF>;
  using X = typename V::X;
  using Vec = Float32<DF>;
  // Elements of x. Just far enough for the lines to be asked for in the order of memory, in which
  // steps do not meet them; what comes later the processor fetches by itself. 0, and distances from
  // 512 on, took 5 to 15 % longer.
  static constexpr int64_t kAskAhead = 192;
  // Up to so many channels tables serve better than tiles, measured with 8 to 40 kv heads of 128.
  static constexpr int64_t kTableRoom = 24 * 128;

 public:
  static HWY_NOINLINE void Run(const RowCall& call) {
    if (Table<Part::kK>::Holds(call, kTableRoom)) {
      const Table<Part::kK> k_table(call);
      const Table<Part::kV> v_table(call);
      Tokens(call, &k_table, &v_table);
    } else {
      Tokens(call, nullptr, nullptr);
      Tiles::template Run<false>(call);
    }
  }

 private:
  // Without tables, q alone.
  static HWY_INLINE void Tokens(const RowCall& call, const Table<Part::kK>* k_table,
                                const Table<Part::kV>* v_table) {
    const int64_t half = call.head_dim / 2;
    Angles angles;
    for (int64_t token = 0; token < call.num_tokens; ++token) {
      angles.Load<Lanes, typename V::AnglesFormat>(DF(), 0, call, token, 0, half);
      if (token + 2 < call.num_tokens) AskForAngles(call, token + 2);
      Heads<Part::kQ>(call, token, angles.First(), {});
      if (token + 1 < call.num_tokens) AskForPages(call, token + 1);
      if (k_table) Heads<Part::kK>(call, token, angles.First(), k_table->First());
      if (v_table) Heads<Part::kV>(call, token, angles.First(), v_table->First());
    }
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
                                 typename Table<part>::Entry first) {
    const DF df;
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t head_dim = call.head_dim;
    const int64_t half = head_dim / 2;
    X x_lo(call, token, Of<part>::FirstChannel(call));
    X x_hi(call, token, Of<part>::FirstChannel(call) + half);
    auto out = RowOf<uint16_t>(Of<part>::Output(call), token, 0);
    const int64_t out_stride = out.data ? Of<part>::Output(call).head_stride : 0;
    Row<int8_t> levels = {part == Part::kQ ? nullptr : Of<part>::Cache(call).rows[token], 1};
    const int64_t levels_stride = levels.data ? Of<part>::Cache(call).head_stride : 0;
    const int64_t heads = Of<part>::Heads(call);

    for (int64_t head = 0; head < heads; ++head) {
      bool sure = true;
      auto entry = first;
      ForSteps<Lanes>(df, half, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
        x_lo.template Prefetch<0>(kAskAhead + 2 * position, 4 * lanes);
        Vec lo_a, lo_b, hi_a, hi_b;
        ReadStep(df, x_lo, x_hi, lane, half, lo_a, lo_b, hi_a, hi_b);
        RotateStep<V, part, typename V::Quick>(df, angles + 4 * position, lo_a, lo_b, hi_a, hi_b);
        const auto level = [&](int i, Vec& scale, Vec& shift)
                               ROPEKV_INLINE_LAMBDA { entry.Load(i, scale, shift); };
        sure &= FinishStep<V, part, typename V::Quick, Wanted::kWhatThereIs, Stores::kStreaming,
                           Stores::kStreaming>(df, lo_a, lo_b, hi_a, hi_b, out, levels, lane, half,
                                               half, level);
        entry.Skip(heads);
      });
      // The whole head: half a line streamed twice is a slow thing.
      if (HWY_UNLIKELY(!sure)) {
        ForSteps<Lanes>(df, half, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
          Tiles::template Redo<part, Stores::kStreaming, Stores::kStreaming>(
              call, Tile{token, 1, 0, half}, angles, typename Tiles::Stage{}, position, lane, head);
        });
      }
      x_lo.NextHead(head_dim);
      x_hi.NextHead(head_dim);
      out.data += out_stride;
      levels.data += levels_stride;
      first.Skip(1);
    }
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_IN_ORDER_INL_H_
