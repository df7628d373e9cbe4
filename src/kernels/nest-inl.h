// SPDX-License-Identifier: Apache-2.0
// The loop nest of all kernels:
//
//   for each tile of tokens, for q, k and v, for each head, for each step of its pairs:
//     for each token of the tile: read, rotate, round and store, quantise and store
//
// A tile of 16-bit x is one token: the order of memory. cos and sin stay in registers, or in the
// first-level cache, for all heads. A tile of int32 x is four tokens: weight_scale and bias, which
// are as large as the token's x, stay in registers for four.
#if defined(ROPEKV_KERNELS_NEST_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_NEST_INL_H_
#undef ROPEKV_KERNELS_NEST_INL_H_
#else
#define ROPEKV_KERNELS_NEST_INL_H_
#endif

#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/dequantise-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/quantise-inl.h"
#include "kernels/rotate-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

enum class Part { kQ, kK, kV };

// One variant on one target: which way is fast, beside the exact one.
template <DType source_t, DType output_t, Numerics numerics_t, bool native_bf16, BiasKind bias_t>
struct Variant {
  static constexpr DType kSource = source_t;
  static constexpr DType kOutput = output_t;
  static constexpr BiasKind kBias = bias_t;
  using Reader = HWY_NAMESPACE::Reader<kSource, kBias>;
  using Round = Rounding<numerics_t, kSource>;
  using AnglesFormat = FormatOf<kOutput>;
  using ExactFormat = OutputFormat<kSource, kOutput>;
  static constexpr bool kBothBF16 = kSource == DType::kBF16 && kOutput == DType::kBF16;
  static constexpr bool kFused = kSource == DType::kF16 && numerics_t == Numerics::kFloat32;
  static constexpr int64_t kTile = kSource == DType::kI32 ? 4 : 1;

#if HWY_TARGET == HWY_AVX3
  static constexpr bool kDot = native_bf16 && kBothBF16;
  using FastFormat =
      std::conditional_t<native_bf16 && kOutput == DType::kBF16, FormatNativeBF16, ExactFormat>;
  using Order = std::conditional_t<kDot, Unpacked, std::conditional_t<kBothBF16, EvenOdd, InOrder>>;
  template <int64_t kPairs>
  static constexpr bool kInRegisters = kTile == 1 && kPairs != 0 && kPairs <= 64;
  template <int64_t kPairs>
  using Angles =
      std::conditional_t<kInRegisters<kPairs>,
                         AnglesInRegisters<Order, AnglesFormat, kInRegisters<kPairs> ? kPairs : 32>,
                         AnglesInMemory<Order, AnglesFormat, FullVectors>>;
  template <int64_t kPairs>
  using Rotation =
      std::conditional_t<kDot, RotationByBF16Dot<kPairs>,
                         RotationByF32<Order, Round, kFused, Angles<kPairs>, FullVectors>>;
#elif HWY_TARGET != HWY_SCALAR
  static constexpr bool kDot = false;
  using FastFormat = ExactFormat;
  using Order = std::conditional_t<kBothBF16, EvenOdd, InOrder>;
  template <int64_t kPairs>
  using Rotation = RotationByF32<Order, Round, kFused,
                                 AnglesInMemory<Order, AnglesFormat, FullVectors>, FullVectors>;
#endif
};

// One head of one token by the operations of the contract alone: what is in doubt, and everything
// on the scalar target.
template <class V>
HWY_NOINLINE void ExactHead(const KernelCall& call, const PartCall& part, bool rotated,
                            int64_t token, int64_t head) {
  using Round = typename V::Round;
  using Format = typename V::ExactFormat;
  const FullVectors df;
  using Vec = Float32<FullVectors>;
  const int64_t half = call.head_dim / 2;
  typename V::Reader reader(call, part, token);
  reader.NextHead(head * call.head_dim);
  const auto* cos = static_cast<const uint16_t*>(call.cos[token]);
  const auto* sin = static_cast<const uint16_t*>(call.sin[token]);
  auto* out = static_cast<uint16_t*>(part.out);
  if (out) out += token * part.out_token_stride + head * part.out_head_stride;
  int8_t* row = part.cache_rows ? part.cache_rows[token] : nullptr;
  if (row) row += head * part.cache_head_stride;

  ForSteps<0>(df, half, [&](int64_t, int64_t pair) ROPEKV_INLINE_LAMBDA {
    Vec lo_a, lo_b, hi_a, hi_b;
    const auto read = [&](int64_t channel, Vec& a, Vec& b) ROPEKV_INLINE_LAMBDA {
      typename V::Reader::template Param<FullVectors> scale_a, scale_b, bias_a, bias_b;
      reader.template LoadParams<InOrder>(df, channel, scale_a, scale_b, bias_a, bias_b);
      reader.template Load<InOrder>(df, 0, channel, scale_a, scale_b, bias_a, bias_b, a, b);
    };
    read(pair, lo_a, lo_b);
    read(half + pair, hi_a, hi_b);
    if (rotated) {
      Vec cos_lo_a, cos_lo_b, sin_lo_a, sin_lo_b, cos_hi_a, cos_hi_b, sin_hi_a, sin_hi_b;
      using Angles = typename V::AnglesFormat;
      InOrder::Load16<Angles>(df, cos + pair, cos_lo_a, cos_lo_b);
      InOrder::Load16<Angles>(df, sin + pair, sin_lo_a, sin_lo_b);
      InOrder::Load16<Angles>(df, cos + half + pair, cos_hi_a, cos_hi_b);
      InOrder::Load16<Angles>(df, sin + half + pair, sin_hi_a, sin_hi_b);
      Rotate<Round, false>(df, cos_lo_a, sin_lo_a, cos_hi_a, sin_hi_a, lo_a, hi_a);
      Rotate<Round, false>(df, cos_lo_b, sin_lo_b, cos_hi_b, sin_hi_b, lo_b, hi_b);
    }
    if (out) {
      auto check = Format::Begin(df);
      InOrder::Store16<Format, Stores::kOrdinary>(df, lo_a, lo_b, out + pair, check);
      InOrder::Store16<Format, Stores::kOrdinary>(df, hi_a, hi_b, out + half + pair, check);
    }
    if (row) {
      const auto quantise = [&](Vec a, Vec b, int64_t channel) ROPEKV_INLINE_LAMBDA {
        if (rotated) {
          a = Round::Result(df, a);
          b = Round::Result(df, b);
        }
        Vec scale_a, scale_b, offset_a, offset_b;
        LoadScales<InOrder>(df, part, head, channel, scale_a, scale_b, offset_a, offset_b);
        InOrder::StoreInt8<Stores::kOrdinary>(df, QuantiseByDivision(df, a, scale_a, offset_a),
                                              QuantiseByDivision(df, b, scale_b, offset_b),
                                              row + channel);
      };
      quantise(lo_a, lo_b, pair);
      quantise(hi_a, hi_b, half + pair);
    }
  });
}

#if HWY_TARGET == HWY_SCALAR

template <class V>
void ExactNest(const KernelCall& call) {
  for (int64_t token = 0; token < call.num_tokens; ++token) {
    for (const PartCall* part : {&call.q, &call.k, &call.v}) {
      for (int64_t head = 0; head < part->num_heads; ++head) {
        ExactHead<V>(call, *part, part != &call.v, token, head);
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

// kAhead: asks for x ahead of its use, for calls beyond the caches.
template <class V, int64_t kPairs, bool kAhead, Stores stores>
class Nest {
  using DF = FullVectors;
  using Vec = Float32<DF>;
  using Order = typename V::Order;
  using Format = typename V::FastFormat;
  using Rotation = typename V::template Rotation<kPairs>;
  using Quantise = QuantiseByReciprocal<DF>;
  using Param = typename V::Reader::template Param<DF>;
  static constexpr int64_t kTile = V::kTile;

  // So many elements of x ahead. The processor's own prefetcher does not run far enough ahead of a
  // loop that computes; further than this the lines are gone again before they are used. To every
  // cache: a non-temporal prefetch, which skips the second-level one, takes the same time on AMD's
  // processors and two to three times as long on Intel's (Granite Rapids), whose first-level cache
  // loses the lines again.
  static constexpr int64_t kPrefetch = kTile == 1 ? 6144 / 2 : 2048 / 4;

  struct Tile {
    int64_t token, count;
    bool usual[kTile];  // whether the rotation takes their angles
    int64_t row_end;    // the channel of x after the last one read
    int64_t next_row;   // from there to the first one read of the next tile
  };

 public:
  static HWY_NOINLINE void Run(const KernelCall& call) {
    const int64_t half = call.head_dim / 2;
    const int64_t tokens = kTile == 1 ? 1 : HWY_MIN(kTile, Rotation::Tokens(half));
    const int64_t row_begin = call.q.num_heads ? call.q.first_channel
                              : call.k.num_heads ? call.k.first_channel
                                                 : call.v.first_channel;
    const PartCall& last = call.v.num_heads ? call.v : call.k.num_heads ? call.k : call.q;
    const int64_t row_end = last.first_channel + last.num_heads * call.head_dim;
    Rotation rotation;
    HWY_ALIGN int8_t nowhere[kMaxHeadDim];
    for (int64_t token = 0; token < call.num_tokens; token += tokens) {
      Tile tile = {token, HWY_MIN(tokens, call.num_tokens - token), {}, row_end, 0};
      tile.next_row = tile.count * call.x_token_stride - (row_end - row_begin);
      if constexpr (kTile == 1) tile.count = 1;
      for (int64_t i = 0; i < tile.count; ++i) {
        tile.usual[i] = rotation.Load(i, call.cos[token + i], call.sin[token + i], half);
      }
      Heads<Part::kQ>(call, call.q, tile, rotation, nowhere);
      Heads<Part::kK>(call, call.k, tile, rotation, nowhere);
      Heads<Part::kV>(call, call.v, tile, rotation, nowhere);
    }
    if constexpr (stores == Stores::kStreaming) hwy::FlushStream();
  }

 private:
  template <Part part>
  static HWY_INLINE void Heads(const KernelCall& call, const PartCall& to, const Tile& tile,
                               const Rotation& rotation, int8_t* nowhere) {
    if (to.num_heads == 0) return;
    const DF df;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
    const int64_t head_dim = kPairs ? 2 * kPairs : call.head_dim;
    const int64_t half = head_dim / 2;
    const int64_t table = (half + 2 * lanes - 1) / (2 * lanes) * (4 * lanes);
    const int64_t out_stride = to.out_token_stride, heads = to.num_heads;
    typename V::Reader reader(call, to, tile.token);
    const bool stores_out = part == Part::kQ || to.out != nullptr;
    auto* out = static_cast<uint16_t*>(to.out);
    if (stores_out) out += tile.token * out_stride;
    // The cache row of a token that is padding is where nobody looks.
    int8_t* rows[kTile] = {};
    int64_t row_strides[kTile] = {};
    for (int64_t i = 0; part != Part::kQ && i < tile.count; ++i) {
      int8_t* row = to.cache_rows[tile.token + i];
      rows[i] = row ? row : nowhere;
      row_strides[i] = row ? to.cache_head_stride : 0;
    }
    const float* reciprocals = to.tables.reciprocals;
    const float* shifts = to.tables.shifts;
    const int64_t shift_step = to.offset.data ? 4 * lanes : 0;

    const int margin = Quantise::Margin(to.offset);
    Collected<DF, kTile> fractions;
    for (int64_t head = 0; head < heads; ++head) {
      // From the end of a row on to the next tile's.
      const int64_t next_head = to.first_channel + (head + 1) * head_dim;
      const int64_t prefetch =
          kPrefetch + (next_head + kPrefetch > tile.row_end ? tile.next_row : 0);
      auto range = Format::Begin(df);
      auto largest = Rotation::None();
      if constexpr (part != Part::kQ) fractions.Fill(Quantise::Begin());
      ForSteps<kPairs>(df, half, [&](auto step, int64_t pair) ROPEKV_INLINE_LAMBDA {
        Param scale_lo_a, scale_lo_b, scale_hi_a, scale_hi_b;
        Param bias_lo_a, bias_lo_b, bias_hi_a, bias_hi_b;
        reader.template LoadParams<Order>(df, pair, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b);
        reader.template LoadParams<Order>(df, half + pair, scale_hi_a, scale_hi_b, bias_hi_a,
                                          bias_hi_b);
        for (int64_t i = 0; i < tile.count; ++i) {
          if constexpr (kAhead) Prefetch(reader.x(i) + prefetch + 4 * lanes * step);
          Vec lo_a, lo_b, hi_a, hi_b;
          if constexpr (part != Part::kV && V::kDot) {
            rotation.Turn(reader.x(i) + pair, reader.x(i) + half + pair, step, lo_a, lo_b, hi_a,
                          hi_b, largest);
          } else {
            reader.template Load<Order>(df, i, pair, scale_lo_a, scale_lo_b, bias_lo_a, bias_lo_b,
                                        lo_a, lo_b);
            reader.template Load<Order>(df, i, half + pair, scale_hi_a, scale_hi_b, bias_hi_a,
                                        bias_hi_b, hi_a, hi_b);
            if constexpr (part != Part::kV) rotation.Turn(i, half, step, lo_a, lo_b, hi_a, hi_b);
          }
          if (part == Part::kQ || HWY_UNLIKELY(stores_out)) {
            uint16_t* to_lo = out + i * out_stride + pair;
            Order::template Store16<Format, stores>(df, lo_a, lo_b, to_lo, range);
            Order::template Store16<Format, stores>(df, hi_a, hi_b, to_lo + half, range);
          }
          if constexpr (part != Part::kQ) {
            const auto quantise = [&](int64_t vector, Vec value) ROPEKV_INLINE_LAMBDA {
              if constexpr (part == Part::kK) value = V::Round::Result(df, value);
              return Quantise::Quantise(value,
                                        hn::LoadU(df, reciprocals + (4 * step + vector) * lanes),
                                        hn::LoadU(df, shifts + step * shift_step + vector * lanes));
            };
            const auto a = quantise(0, lo_a), b = quantise(1, lo_b);
            const auto c = quantise(2, hi_a), d = quantise(3, hi_b);
            fractions.Set(i, Quantise::Add(fractions.Get(i), a, b, c, d));
            Order::template StoreInt8<stores>(df, a, b, rows[i] + pair);
            Order::template StoreInt8<stores>(df, c, d, rows[i] + half + pair);
          }
        }
      });
      bool all_failed = Format::Failed(df, range);
      if constexpr (part == Part::kK) all_failed |= Rotation::TooLarge(largest);
      for (int64_t i = 0; i < tile.count; ++i) {
        bool failed = all_failed || (part != Part::kV && !tile.usual[i]);
        if constexpr (part != Part::kQ) failed |= Quantise::Failed(fractions.Get(i), margin);
        if (HWY_UNLIKELY(failed)) {
          ExactHead<V>(call, to, part != Part::kV, tile.token + i, head);
        }
        rows[i] += row_strides[i];
      }
      reader.NextHead(head_dim);
      if (stores_out) out += to.out_head_stride;
      if constexpr (part != Part::kQ) {
        reciprocals += table;
        if (to.offset.data) shifts += table;
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
