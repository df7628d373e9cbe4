// SPDX-License-Identifier: Apache-2.0
// The loop nest of all kernels:
//
//   for each tile of tokens, for each part of q, k and v, for each head:
//     for each token of the tile, for each step of the head's pairs:
//       read, rotate, round and store, quantise and store
//
// A tile of floating-point x is one token: the order of memory. cos and sin stay in registers, or
// in the first-level cache, for all heads. A tile of int32 x is four tokens: a head's weight_scale
// and bias, which are as large as its x, stay in the first-level cache for four.
#if defined(ROPEKV_KERNELS_NEST_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_NEST_INL_H_
#undef ROPEKV_KERNELS_NEST_INL_H_
#else
#define ROPEKV_KERNELS_NEST_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/angles-inl.h"
#include "kernels/call.h"
#include "kernels/exact-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/quantise-inl.h"
#include "kernels/variant-inl.h"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// kWholeHeads: Kernel::whole_heads.
template <class V, int64_t kPairs, Stores stores, bool kWholeHeads>
class Nest {
  using DF = FullVectors;
  using Vec = Float32<DF>;
  using Format = typename V::FastFormat;
  using T = typename Format::T;
  using Rotation = typename V::template Rotation<kPairs>;
  using Quantise = QuantiseByReciprocal<DF>;
  static constexpr int64_t kTile = V::kTile;
  static constexpr int64_t kMaxLanes = hn::MaxLanes(DF());

  struct Tile {
    int64_t token, tokens;
    bool usual;        // whether the rotation takes their angles
    int64_t row_end;   // the channel of x after the last one read
    int64_t next_row;  // from there to the first one read of the next tile
    // Heads that failed a check, as bits: of each part, for each token. Heads 64 apart share one.
    uint64_t failed[kMaxParts][kTile];
    bool any_failed;

    HWY_INLINE int64_t count() const { return kTile == 1 ? 1 : tokens; }
  };

  union Scratch {
    struct {
      typename V::Reader::Scratch reader;
      HWY_ALIGN float padding[kMaxHeadDim];  // a row where nobody looks
    } head;
    ExactRoom exact;
  };

  // The channels of a part in one head: [first, first + half), beside those `upper` further on. And
  // their tables.
  struct Piece {
    HWY_INLINE Piece(const PartCall& part, int64_t first_channel, int64_t unrolled)
        : first(first_channel),
          half(unrolled ? unrolled : part.half),
          upper(unrolled ? unrolled : part.channels - half),
          reciprocals(part.tables.reciprocals),
          shifts(part.tables.shifts) {}

    // Of the next head.
    HWY_INLINE void Advance(bool each_has_shifts) {
      const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(DF()));
      const int64_t table = (half + step - 1) / step * (2 * step);
      reciprocals += table;
      if (each_has_shifts) shifts += table;
    }

    int64_t first, half, upper;
    const float* reciprocals;
    const float* shifts;
  };

  // Where a head of each token of a tile goes.
  template <class Element>
  struct Rows {
    Element* at[kTile];
    int64_t stride[kTile];  // to the next head
  };

 public:
  static HWY_NOINLINE void Run(const KernelCall& call) {
    const int64_t tokens = kTile == 1 ? 1 : HWY_MIN(kTile, Rotation::Tokens(call.rotary_half));
    int64_t row_begin = INT64_MAX, row_end = 0;
    for (int p = 0; p < call.num_parts; ++p) {
      const PartCall& part = call.parts[p];
      if (part.num_heads == 0) continue;
      row_begin = HWY_MIN(row_begin, part.first_channel);
      row_end = HWY_MAX(row_end, part.first_channel + part.num_heads * call.head_dim);
    }
    const bool shared = V::kStyle == RotaryStyle::kHalf && call.half_width_angles;
    Rotation rotation;
    Scratch scratch;
    for (int64_t token = 0; token < call.num_tokens; token += tokens) {
      Tile tile = {token, HWY_MIN(tokens, call.num_tokens - token), true, row_end, 0, {}, false};
      tile.next_row = tile.tokens * call.x_token_stride - (row_end - row_begin);
      for (int64_t i = 0; i < tile.count(); ++i) {
        const int64_t upper = call.rotary_dim - call.rotary_half;
        tile.usual &= rotation.Load(i, {.cos = call.cos[token + i],
                                        .sin = call.sin[token + i],
                                        .dtype = call.angles_dtype,
                                        .half = call.rotary_half,
                                        .upper = shared ? 0 : upper,
                                        .half_width = call.half_width_angles});
      }
      for (int p = 0; p < call.num_parts; ++p) {
        const PartCall& part = call.parts[p];
        uint64_t* const failed = tile.failed[p];
        if (part.num_heads) HeadsOf(call, part, tile, failed, rotation, scratch);
        // Those of the next part are done, too.
        if (kWholeHeads && part.rotated) std::copy_n(failed, kTile, tile.failed[++p]);
      }
      if (HWY_UNLIKELY(tile.any_failed)) DoAgain(call, tile, scratch.exact);
    }
    if constexpr (stores == Stores::kStreaming) hwy::FlushStream();
  }

 private:
  // Heads that failed, exactly. After all others: with a call among them, g++ keeps cos and sin in
  // memory.
  static HWY_NOINLINE void DoAgain(const KernelCall& call, const Tile& tile, ExactRoom& room) {
    for (int p = 0; p < call.num_parts; ++p) {
      for (int64_t i = 0; i < tile.count(); ++i) {
        for (uint64_t failed = tile.failed[p][i]; failed; failed &= failed - 1) {
          for (int64_t head = std::countr_zero(failed); head < call.parts[p].num_heads;
               head += 64) {
            ExactHead(call, call.parts[p], tile.token + i, head, room);
          }
        }
      }
    }
  }

  static HWY_INLINE void HeadsOf(const KernelCall& call, const PartCall& part, Tile& tile,
                                 uint64_t* failed, const Rotation& rotation, Scratch& scratch) {
    using enum Sink;
    switch (part.sink) {
      case kStore: return HeadsTo<kStore, Format>(call, part, tile, failed, rotation, scratch);
      case kQuantise:
        return HeadsTo<kQuantise, Format>(call, part, tile, failed, rotation, scratch);
      case kStoreAny:
        if constexpr (V::template kOtherCaches<kPairs, stores, kWholeHeads>) {
          WithFormat(part.row_dtype, [&](auto format) ROPEKV_INLINE_LAMBDA {
            using Other = decltype(format);
            if constexpr (!std::is_base_of_v<Other, FormatOf<V::kOutput>>) {
              HeadsTo<kStoreAny, Other>(call, part, tile, failed, rotation, scratch);
            }
          });
        }
    }
  }

  template <Sink sink, class StoreFormat>
  static HWY_INLINE void HeadsTo(const KernelCall& call, const PartCall& part, Tile& tile,
                                 uint64_t* failed, const Rotation& rotation, Scratch& scratch) {
    // Heads of v, which are as long as those of k.
    constexpr int64_t kAlike = sink == Sink::kQuantise && !kWholeHeads ? kPairs : 0;
    if (part.rotated) {
      return Heads<sink, StoreFormat, true, kPairs>(call, part, tile, failed, rotation, scratch);
    }
    if (kAlike != 0 && part.channels == 2 * kAlike) {
      return Heads<sink, StoreFormat, false, kAlike>(call, part, tile, failed, rotation, scratch);
    }
    Heads<sink, StoreFormat, false, 0>(call, part, tile, failed, rotation, scratch);
  }

  // The rows of the part's head 0. That of a token that is padding is where nobody looks.
  template <class Element>
  static HWY_INLINE Rows<Element> FirstRows(const PartCall& part, const Tile& tile,
                                            Scratch& scratch) {
    Rows<Element> rows = {};
    for (int64_t i = 0; i < tile.count(); ++i) {
      if (part.rows == nullptr) {
        rows.at[i] = static_cast<Element*>(part.out) + (tile.token + i) * part.out_token_stride;
        rows.stride[i] = part.out_head_stride;
      } else if (void* const row = part.rows[tile.token + i]) {
        rows.at[i] = static_cast<Element*>(row) + part.row_offset;
        rows.stride[i] = part.row_head_stride;
      } else {
        rows.at[i] = reinterpret_cast<Element*>(scratch.head.padding);
      }
    }
    return rows;
  }

  template <Sink sink, class StoreFormat, bool kRotated, int64_t kUnrolled>
  static HWY_INLINE void Heads(const KernelCall& call, const PartCall& part, Tile& tile,
                               uint64_t* failed, const Rotation& rotation, Scratch& scratch) {
    constexpr bool kQuantise = sink == Sink::kQuantise;
    constexpr bool kWhole = kWholeHeads && kRotated;
    const DF df;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
    typename V::Reader reader(call, part, kWhole ? call.head_dim : part.channels, tile.token,
                              scratch.head.reader);
    using Element = std::conditional_t<kQuantise, int8_t, typename StoreFormat::T>;
    auto rows = FirstRows<Element>(part, tile, scratch);
    // Of quantised heads that are outputs too.
    T* out = kQuantise ? static_cast<T*>(part.out) : nullptr;
    if (out) out += tile.token * part.out_token_stride;
    Piece piece(part, 0, kUnrolled);
    Piece passing(kWhole ? (&part)[1] : part, part.channels, 0);
    const bool offsets = part.offset.data != nullptr;
    const int margin = Quantise::Margin(part.offset);

    // Known, or asked once: the branch costs an unrolled kernel 4 %.
    const bool ahead = stores == Stores::kStreaming || (kPairs == 0 && call.ahead_bytes != 0);
    const int64_t distance = call.ahead_bytes / static_cast<int64_t>(sizeof(*reader.x()));
    for (int64_t head = 0; head < part.num_heads; ++head) {
      // From the end of a row on to the next tile's.
      const int64_t next_head = part.first_channel + (head + 1) * call.head_dim;
      const int64_t prefetch = distance + (next_head + distance > tile.row_end ? tile.next_row : 0);
      reader.BeginHead();
      for (int64_t i = 0; i < tile.count(); ++i) {
        reader.Take(i);
        Element* const to = rows.at[i];
        T* const also = out ? out + i * part.out_token_stride : nullptr;
        auto range = StoreFormat::Begin(df);
        auto fractions = Quantise::Begin();
        const auto do_step = [&](auto rotates, const Piece& of, auto step,
                                 int64_t pair) ROPEKV_INLINE_LAMBDA {
          constexpr bool kRotates = decltype(rotates)::value;
          using Order = typename V::template Order<kRotates>;
          const int64_t lower = of.first + pair, upper = of.first + of.upper + pair;
          // After the step's own loads: before them it costs beyond the caches 2 %.
          const auto ask_ahead = [&]() ROPEKV_INLINE_LAMBDA {
            const int64_t channel = prefetch + of.first + 4 * lanes * step;
            if (ahead) Prefetch(reader.x() + channel, 4 * kMaxLanes);
          };
          // Rounded to the dtype that they have.
          if constexpr (sink == Sink::kStore && V::kCopies) {
            if constexpr (!kRotates) {
              const hn::Repartition<T, DF> d;
              StoreVector<stores>(hn::LoadU(d, reader.x() + lower), d, to + lower);
              StoreVector<stores>(hn::LoadU(d, reader.x() + upper), d, to + upper);
              return ask_ahead();
            }
          }
          Vec lo_a, lo_b, hi_a, hi_b;
          if constexpr (kRotates && V::kDot) {
            rotation.TurnStep(reader.x() + lower, reader.x() + upper, step, lo_a, lo_b, hi_a, hi_b);
          } else {
            reader.template Load<Order>(df, lower, lo_a, lo_b);
            reader.template Load<Order>(df, upper, hi_a, hi_b);
            if constexpr (kRotates) rotation.TurnStep(i, of.half, step, lo_a, lo_b, hi_a, hi_b);
          }
          const auto write = [&](auto* row) ROPEKV_INLINE_LAMBDA {
            Order::template Write<StoreFormat, stores>(df, lo_a, lo_b, row + lower, range);
            Order::template Write<StoreFormat, stores>(df, hi_a, hi_b, row + upper, range);
          };
          if constexpr (kQuantise) {
            if (HWY_UNLIKELY(also)) write(also);
          }
          if constexpr (sink != Sink::kStore && kRotates) {
            for (Vec* value : {&lo_a, &lo_b, &hi_a, &hi_b}) *value = V::Round::Result(df, *value);
          }
          if constexpr (!kQuantise) write(to);
          if constexpr (kQuantise) {
            const auto quantise = [&](int64_t vector, Vec value) ROPEKV_INLINE_LAMBDA {
              const int64_t at = (4 * step + vector) * lanes;
              return Quantise::Quantise(value, hn::LoadU(df, of.reciprocals + at),
                                        hn::LoadU(df, of.shifts + (offsets ? at : vector * lanes)));
            };
            const auto a = quantise(0, lo_a), b = quantise(1, lo_b);
            const auto c = quantise(2, hi_a), d = quantise(3, hi_b);
            fractions = Quantise::Add(fractions, a, b, c, d);
            Order::template StoreInt8<stores>(df, a, b, c, d, to + lower, to + upper);
          }
          ask_ahead();
        };
        ForSteps<kUnrolled>(df, piece.half, [&](auto step, int64_t pair) ROPEKV_INLINE_LAMBDA {
          do_step(std::bool_constant<kRotated>(), piece, step, pair);
        });
        if constexpr (kWhole) {
          // A step for heads of 128 channels: with the loop alone int32 x takes 5 % longer.
          do_step(std::false_type(), passing, std::integral_constant<int64_t, 0>(), 0);
          const int64_t last = passing.half - 2 * lanes;
          for (int64_t step = 1; step * 2 * lanes < passing.half; ++step) {
            do_step(std::false_type(), passing, step, HWY_MIN(step * 2 * lanes, last));
          }
        }
        bool fails = kRotated && !tile.usual;
        fails |= StoreFormat::Failed(df, range);
        if constexpr (kQuantise) fails |= Quantise::Failed(fractions, margin);
        if (HWY_UNLIKELY(fails)) {
          failed[i] |= uint64_t{1} << (head % 64);
          tile.any_failed = true;
        }
        rows.at[i] += rows.stride[i];
      }
      reader.NextHead(call.head_dim);
      if (out) out += part.out_head_stride;
      if constexpr (kQuantise) {
        piece.Advance(offsets);
        passing.Advance(offsets);
      }
    }
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET != HWY_SCALAR

#endif  // ROPEKV_KERNELS_NEST_INL_H_
