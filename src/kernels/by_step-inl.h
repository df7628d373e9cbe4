// SPDX-License-Identifier: Apache-2.0
// In the caches, where the order of memory does not matter: cos and sin stay in registers for all
// heads. For 16-bit x; and for any x, if there are but one or two tokens, of which k and v go in
// tiles then.
//
//   for each token, for each step of pairs, for each head: load, rotate, quantise, store
#if defined(ROPEKV_KERNELS_BY_STEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_BY_STEP_INL_H_
#undef ROPEKV_KERNELS_BY_STEP_INL_H_
#else
#define ROPEKV_KERNELS_BY_STEP_INL_H_
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
class ByStepKernel {
  using Lanes = typename V::Lanes;
  template <Part part>
  using Table = ScaleTable<part, Lanes, typename V::Quick::Codec, DF>;
  using Tiles = TileKernel<V, Stores::kOrdinary, DF>;
  using X = typename V::X;
  using Vec = Float32<DF>;

 public:
  static bool Takes(const RowCall& call) {
    return call.head_dim <= 2 * kMaxPairs && (V::kSource != DType::kI32 || IsShort(call));
  }

  static HWY_NOINLINE void Run(const RowCall& call) {
    if (IsShort(call) || !Table<Part::kK>::Holds(call)) {
      for (int64_t token = 0; token < call.num_tokens; ++token) Heads<Part::kQ>(call, token, {});
      Tiles::template Run<false>(call);
    } else {
      const Table<Part::kK> k_table(call);
      const Table<Part::kV> v_table(call);
      for (int64_t token = 0; token < call.num_tokens; ++token) {
        Heads<Part::kQ>(call, token, {});
        Heads<Part::kK>(call, token, k_table.First());
        Heads<Part::kV>(call, token, v_table.First());
      }
    }
  }

 private:
  // As many heads as `doubts` has bits.
  static constexpr int64_t kGroup = 64;

  static bool IsShort(const RowCall& call) { return call.num_tokens < kMinReciprocalTile; }

  template <Part part>
  static HWY_INLINE void Heads(const RowCall& call, int64_t token,
                               typename Table<part>::Entry entry) {
    if constexpr (part != Part::kQ) {
      if (Of<part>::Output(call).data == nullptr && Of<part>::Cache(call).rows[token] != nullptr) {
        return HeadsFor<part, Wanted::kOnlyLevels>(call, token, entry);
      }
    }
    HeadsFor<part, Wanted::kWhatThereIs>(call, token, entry);
  }

  // A function of its own, for the sake of registers.
  template <Part part, Wanted wanted>
  static HWY_NOINLINE void HeadsFor(const RowCall& call, int64_t token,
                                    typename Table<part>::Entry entry) {
    const DF df;
    const auto lanes = static_cast<int64_t>(hn::Lanes(df));
    // What is reached through `call` would be read again after every store of a vector.
    const int64_t head_dim = call.head_dim;
    const int64_t half = head_dim / 2;
    const int64_t next_token = call.x.token_stride;
    const int64_t heads = Of<part>::Heads(call);
    const auto cos = RowOf<uint16_t>(call.cos, token, 0);
    const auto sin = RowOf<uint16_t>(call.sin, token, 0);
    const X first_lo(call, token, Of<part>::FirstChannel(call));
    const X first_hi(call, token, Of<part>::FirstChannel(call) + half);
    const auto first_out = RowOf<uint16_t>(Of<part>::Output(call), token, 0);
    const int64_t out_stride = first_out.data ? Of<part>::Output(call).head_stride : 0;
    int8_t* const row = part == Part::kQ ? nullptr : Of<part>::Cache(call).rows[token];
    const int64_t levels_stride = row ? Of<part>::Cache(call).head_stride : 0;

    ForSteps<Lanes>(df, half, [&](int64_t position, int64_t lane) ROPEKV_INLINE_LAMBDA {
      const auto load = [&](Row<const uint16_t> angles, Vec& a, Vec& b) ROPEKV_INLINE_LAMBDA {
        Lanes::template LoadHalf<typename V::AnglesFormat>(df, angles, lane, half, a, b);
      };
      Vec cos_lo_a, cos_lo_b, sin_lo_a, sin_lo_b, cos_hi_a, cos_hi_b, sin_hi_a, sin_hi_b;
      load(cos, cos_lo_a, cos_lo_b);
      load(sin, sin_lo_a, sin_lo_b);
      load(Skip<Lanes>(cos, half), cos_hi_a, cos_hi_b);
      load(Skip<Lanes>(sin, half), sin_hi_a, sin_hi_b);

      X x_lo = first_lo, x_hi = first_hi;
      auto out = first_out;
      Row<int8_t> levels = {row, 1};
      for (int64_t group = 0; group < heads; group += kGroup) {
        uint64_t doubts = 0;
        const int64_t end = std::min(heads - group, kGroup);
        for (int64_t i = 0; i < end; ++i) {
          // 5 % where x comes from the third-level cache.
          x_lo.template Prefetch<2>(next_token + lane, 2 * lanes);
          x_hi.template Prefetch<2>(next_token + lane, 2 * lanes);
          Vec lo_a, lo_b, hi_a, hi_b;
          ReadStep(df, x_lo, x_hi, lane, half, lo_a, lo_b, hi_a, hi_b);
          RotateStep<V, part, typename V::Quick>(df, cos_lo_a, cos_lo_b, sin_lo_a, sin_lo_b,
                                                 cos_hi_a, cos_hi_b, sin_hi_a, sin_hi_b, lo_a, lo_b,
                                                 hi_a, hi_b);
          const auto level = [&](int vector, Vec& scale, Vec& shift)
                                 ROPEKV_INLINE_LAMBDA { entry.Load(vector, scale, shift); };
          const bool sure =
              FinishStep<V, part, typename V::Quick, wanted, Stores::kOrdinary, Stores::kOrdinary>(
                  df, lo_a, lo_b, hi_a, hi_b, out, levels, lane, half, half, level);
          if (HWY_UNLIKELY(!sure)) doubts |= uint64_t{1} << i;
          x_lo.NextHead(head_dim);
          x_hi.NextHead(head_dim);
          out.data += out_stride;
          levels.data += levels_stride;
          entry.Skip(1);
        }
        for (; HWY_UNLIKELY(doubts != 0); doubts &= doubts - 1) {
          Redo<part>(call, token, position, lane, group + __builtin_ctzll(doubts));
        }
      }
    });
  }

  template <Part part>
  static HWY_NOINLINE void Redo(const RowCall& call, int64_t token, int64_t position, int64_t lane,
                                int64_t head) {
    const int64_t half = call.head_dim / 2;
    Angles angles;
    angles.Load<Lanes, typename V::AnglesFormat>(DF(), 0, call, token, 0, half);
    Tiles::template Redo<part, Stores::kOrdinary, Stores::kOrdinary>(
        call, Tile{token, 1, 0, half}, angles.First(), typename Tiles::Stage{}, position, lane,
        head);
  }
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_BY_STEP_INL_H_
