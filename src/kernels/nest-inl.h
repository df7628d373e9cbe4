// SPDX-License-Identifier: Apache-2.0
// The loop nest of all kernels:
//
//   for each tile of tokens, for each part of q, k and v, for each head, for each step of its
//   pairs:
//     for each token of the tile: read, rotate, round and store, quantise and store
//
// A tile of floating-point x is one token: the order of memory. cos and sin stay in registers, or
// in the first-level cache, for all heads. A tile of int32 x is four tokens: weight_scale and bias,
// which are as large as the token's x, stay in registers for four.
#if defined(ROPEKV_KERNELS_NEST_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_NEST_INL_H_
#undef ROPEKV_KERNELS_NEST_INL_H_
#else
#define ROPEKV_KERNELS_NEST_INL_H_
#endif

#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/angles-inl.h"
#include "kernels/call.h"
#include "kernels/exact-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/quantise-inl.h"
#include "kernels/variant-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

template <class V>
void ExactNest(const KernelCall& call) {
  for (int64_t token = 0; token < call.num_tokens; ++token) {
    for (int p = 0; p < call.num_parts; ++p) {
      for (int64_t head = 0; head < call.parts[p].num_heads; ++head) {
        ExactHead<typename V::Exact>(call, call.parts[p], token, head);
      }
    }
  }
}

#else

// A vector of what a check collects, for each token of a tile. Compilers keep that of a single
// token in a register.
template <class DF, int64_t kTile>
class Collected {
  using D = hn::Repartition<uint16_t, DF>;

 public:
  HWY_INLINE hn::Vec<D> Get(int64_t i) const { return hn::Load(D(), data_[i]); }
  HWY_INLINE void Set(int64_t i, hn::Vec<D> value) { hn::Store(value, D(), data_[i]); }
  // Unrolled: g++ makes a call of memset of a loop.
  HWY_INLINE void Fill(hn::Vec<D> value) {
    [&]<int64_t... i>(std::integer_sequence<int64_t, i...>) ROPEKV_INLINE_LAMBDA {
      (Set(i, value), ...);
    }
    (std::make_integer_sequence<int64_t, kTile>());
  }

 private:
  HWY_ALIGN uint16_t data_[kTile][hn::MaxLanes(D())];
};

template <class V, int64_t kPairs, Stores stores>
class Nest {
  using DF = FullVectors;
  using Vec = Float32<DF>;
  using Order = typename V::Order;
  using Format = typename V::FastFormat;
  using T = typename Format::T;
  using Rotation = typename V::template Rotation<kPairs>;
  using Quantise = QuantiseByReciprocal<DF>;
  using Param = typename V::Reader::template Param<DF>;
  static constexpr int64_t kTile = V::kTile;

  // So many elements of x ahead. The processor's own prefetcher does not run far enough ahead of a
  // loop that computes; further than this the lines are gone again before they are used. To every
  // cache: a non-temporal prefetch, which skips the second-level one, takes the same time on AMD's
  // processors and two to three times as long on Intel's (Granite Rapids), whose first-level cache
  // loses the lines again.
  static constexpr int64_t kPrefetch =
      (kTile == 1 ? 6144 : 2048) / static_cast<int64_t>(sizeof(typename V::Reader::T));

  struct Tile {
    int64_t token, count;
    bool usual[kTile];  // whether the rotation takes their angles
    int64_t row_end;    // the channel of x after the last one read
    int64_t next_row;   // from there to the first one read of the next tile
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
    Rotation rotation;
    HWY_ALIGN char nowhere[kMaxHeadDim * (V::kUsual ? sizeof(T) : sizeof(float))];
    for (int64_t token = 0; token < call.num_tokens; token += tokens) {
      Tile tile = {token, HWY_MIN(tokens, call.num_tokens - token), {}, row_end, 0};
      tile.next_row = tile.count * call.x_token_stride - (row_end - row_begin);
      if constexpr (kTile == 1) tile.count = 1;
      for (int64_t i = 0; i < tile.count; ++i) {
        WithAngles<V>(call, token + i, [&](const AngleRows& rows) ROPEKV_INLINE_LAMBDA {
          tile.usual[i] = rotation.Load(i, rows);
        });
      }
      for (int p = 0; p < call.num_parts; ++p) {
        if (call.parts[p].num_heads) HeadsOf(call, call.parts[p], tile, rotation, nowhere);
      }
    }
    if constexpr (stores == Stores::kStreaming) hwy::FlushStream();
  }

 private:
  static HWY_INLINE void HeadsOf(const KernelCall& call, const PartCall& part, const Tile& tile,
                                 const Rotation& rotation, char* nowhere) {
    switch (part.sink) {
      case Sink::kStore:
        if (part.rotated) {
          Heads<Sink::kStore, true, kPairs>(call, part, tile, rotation, nowhere);
        } else {
          Heads<Sink::kStore, false, 0>(call, part, tile, rotation, nowhere);
        }
        return;
      case Sink::kStoreAny:
        if constexpr (!V::kUsual) {
          if (part.rotated) {
            Heads<Sink::kStoreAny, true, 0>(call, part, tile, rotation, nowhere);
          } else {
            Heads<Sink::kStoreAny, false, 0>(call, part, tile, rotation, nowhere);
          }
        }
        return;
      case Sink::kQuantise:
        if (part.rotated) {
          Heads<Sink::kQuantise, true, kPairs>(call, part, tile, rotation, nowhere);
        } else if (kPairs == 0 || part.channels != 2 * kPairs) {
          Heads<Sink::kQuantise, false, 0>(call, part, tile, rotation, nowhere);
        } else {
          Heads<Sink::kQuantise, false, kPairs>(call, part, tile, rotation, nowhere);
        }
    }
  }

  // The rows of the part's head 0. The cache row of a token that is padding is where nobody looks.
  template <class Element>
  static HWY_INLINE Rows<Element> FirstRows(const PartCall& part, const Tile& tile, char* nowhere) {
    constexpr bool kBytes = std::is_same_v<Element, char>;
    const int64_t unit = kBytes ? ElementBytes(part.row_dtype) : 1;
    Rows<Element> rows = {};
    for (int64_t i = 0; i < tile.count; ++i) {
      if (part.rows == nullptr) {
        rows.at[i] = static_cast<Element*>(part.out) + (tile.token + i) * part.out_token_stride;
        rows.stride[i] = part.out_head_stride;
      } else if (void* const row = part.rows[tile.token + i]) {
        rows.at[i] = static_cast<Element*>(row) + part.row_offset * unit;
        rows.stride[i] = part.row_head_stride * unit;
      } else {
        rows.at[i] = reinterpret_cast<Element*>(nowhere);
      }
    }
    return rows;
  }

  template <Sink sink, bool kRotated, int64_t kUnrolled>
  static HWY_INLINE void Heads(const KernelCall& call, const PartCall& part, const Tile& tile,
                               const Rotation& rotation, char* nowhere) {
    constexpr bool kQuantise = sink == Sink::kQuantise;
    const DF df;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t half = kUnrolled ? kUnrolled : part.half;
    const int64_t upper = kUnrolled ? kUnrolled : part.channels - half;
    const int64_t table = (half + 2 * lanes - 1) / (2 * lanes) * (4 * lanes);
    typename V::Reader reader(call, part, tile.token);
    using Element =
        std::conditional_t<kQuantise, int8_t, std::conditional_t<sink == Sink::kStore, T, char> >;
    auto rows = FirstRows<Element>(part, tile, nowhere);
    // Of quantised heads that are outputs too.
    T* out = kQuantise ? static_cast<T*>(part.out) : nullptr;
    const int64_t out_stride = part.out_token_stride;
    if (out) out += tile.token * out_stride;
    const float* reciprocals = part.tables.reciprocals;
    const float* shifts = part.tables.shifts;
    const int64_t shift_step = part.offset.data ? 4 * lanes : 0;
    const int margin = Quantise::Margin(part.offset);
    Collected<DF, kTile> fractions;

    // Known, or asked once: the branch costs an unrolled kernel 4 %.
    const bool ahead = stores == Stores::kStreaming || (kPairs == 0 && call.ahead);
    const int64_t heads = part.num_heads;
    for (int64_t head = 0; head < heads; ++head) {
      // From the end of a row on to the next tile's.
      const int64_t next_head = part.first_channel + (head + 1) * call.head_dim;
      const int64_t prefetch =
          kPrefetch + (next_head + kPrefetch > tile.row_end ? tile.next_row : 0);
      auto range = Format::Begin(df);
      auto largest = Rotation::None();
      if constexpr (kQuantise) fractions.Fill(Quantise::Begin());
      ForSteps<kUnrolled>(df, half, [&](auto step, int64_t pair) ROPEKV_INLINE_LAMBDA {
        Param scale_lo_a, scale_lo_b, scale_hi_a, scale_hi_b;
        Param bias_lo_a, bias_lo_b, bias_hi_a, bias_hi_b;
        reader.template LoadParams<Order>(df, pair, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b);
        reader.template LoadParams<Order>(df, upper + pair, scale_hi_a, scale_hi_b, bias_hi_a,
                                          bias_hi_b);
        for (int64_t i = 0; i < tile.count; ++i) {
          if (ahead) Prefetch(reader.x(i) + prefetch + 4 * lanes * step);
          Vec lo_a, lo_b, hi_a, hi_b;
          if constexpr (kRotated && V::kDot) {
            rotation.TurnStep(reader.x(i) + pair, reader.x(i) + upper + pair, step, lo_a, lo_b,
                              hi_a, hi_b, largest);
          } else {
            reader.template Load<Order>(df, i, pair, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b,
                                        lo_a, lo_b);
            reader.template Load<Order>(df, i, upper + pair, scale_hi_a, scale_hi_b, bias_hi_a,
                                        bias_hi_b, hi_a, hi_b);
            if constexpr (kRotated) rotation.TurnStep(i, half, step, lo_a, lo_b, hi_a, hi_b);
          }
          const auto write = [&](T* to) ROPEKV_INLINE_LAMBDA {
            Order::template Write<Format, stores>(df, lo_a, lo_b, to + pair, range);
            Order::template Write<Format, stores>(df, hi_a, hi_b, to + upper + pair, range);
          };
          if constexpr (sink == Sink::kStore) write(rows.at[i]);
          if constexpr (kQuantise) {
            if (HWY_UNLIKELY(out)) write(out + i * out_stride);
          }
          if constexpr (sink != Sink::kStore && kRotated) {
            for (Vec* value : {&lo_a, &lo_b, &hi_a, &hi_b}) *value = V::Round::Result(df, *value);
          }
          if constexpr (sink == Sink::kStoreAny) {
            WriteAny(df, part.row_dtype, lo_a, lo_b, rows.at[i], pair);
            WriteAny(df, part.row_dtype, hi_a, hi_b, rows.at[i], upper + pair);
          }
          if constexpr (kQuantise) {
            const auto quantise = [&](int64_t vector, Vec value) ROPEKV_INLINE_LAMBDA {
              return Quantise::Quantise(value,
                                        hn::LoadU(df, reciprocals + (4 * step + vector) * lanes),
                                        hn::LoadU(df, shifts + step * shift_step + vector * lanes));
            };
            const auto a = quantise(0, lo_a), b = quantise(1, lo_b);
            const auto c = quantise(2, hi_a), d = quantise(3, hi_b);
            fractions.Set(i, Quantise::Add(fractions.Get(i), a, b, c, d));
            Order::template StoreInt8<stores>(df, a, b, rows.at[i] + pair);
            Order::template StoreInt8<stores>(df, c, d, rows.at[i] + upper + pair);
          }
        }
      });
      bool all_failed = Format::Failed(df, range);
      if constexpr (kQuantise && kRotated) all_failed |= Rotation::TooLarge(largest);
      for (int64_t i = 0; i < tile.count; ++i) {
        bool failed = all_failed || (kRotated && !tile.usual[i]);
        if constexpr (kQuantise) failed |= Quantise::Failed(fractions.Get(i), margin);
        if (HWY_UNLIKELY(failed)) ExactHead<typename V::Exact>(call, part, tile.token + i, head);
        rows.at[i] += rows.stride[i];
      }
      reader.Advance(call.head_dim);
      if (out) out += part.out_head_stride;
      if constexpr (kQuantise) {
        reciprocals += table;
        if (part.offset.data) shifts += table;
      }
    }
  }

  // Asks for as much of x as a step reads.
  template <class T>
  static HWY_INLINE void Prefetch(const T* x) {
    const char* from = reinterpret_cast<const char*>(x);
    constexpr int64_t kBytes = 4 * hn::MaxLanes(DF()) * sizeof(T);
    for (int64_t i = 0; i < kBytes; i += kLineBytes) __builtin_prefetch(from + i, 0, 3);
  }
};

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_NEST_INL_H_
