// SPDX-License-Identifier: Apache-2.0
// One head by the operations of the contract alone.
#if defined(ROPEKV_KERNELS_EXACT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_EXACT_INL_H_
#undef ROPEKV_KERNELS_EXACT_INL_H_
#else
#define ROPEKV_KERNELS_EXACT_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/angles-inl.h"
#include "kernels/call.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/quantise-inl.h"
#include "kernels/rotate-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// A step of a row of any floating-point dtype. A call, because it would be in every kernel twice.
template <class DF>
HWY_NOINLINE void WriteAny(DF df, DType dtype, Float32<DF> a, Float32<DF> b, void* row,
                           int64_t element) {
  const auto write = [&](auto format) ROPEKV_INLINE_LAMBDA {
    using Format = decltype(format);
    auto check = Format::Begin(df);
    InOrder::Write<Format, Stores::kOrdinary>(
        df, a, b, static_cast<typename Format::T*>(row) + element, check);
  };
  switch (dtype) {
    case DType::kF16: return write(FormatF16());
    case DType::kBF16: return write(FormatBF16());
    default: return write(FormatF32());
  }
}

// One head of one token by the operations of the contract alone: what is in doubt, and everything
// on the scalar target.
template <class V>
HWY_NOINLINE void ExactHead(const KernelCall& call, const PartCall& part, int64_t token,
                            int64_t head) {
  using Round = typename V::Round;
  using Format = FormatOf<V::kOutput>;
  using Vec = Float32<FullVectors>;
  const FullVectors df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df)), upper = part.channels - part.half;
  typename V::Reader reader(call, part, token);
  reader.Advance(head * call.head_dim);
  auto* out = static_cast<typename Format::T*>(part.out);
  if (out) out += token * part.out_token_stride + head * part.out_head_stride;
  void* const row = part.rows ? part.rows[token] : nullptr;
  const int64_t in_row = part.row_offset + head * part.row_head_stride;
  if (row && part.sink == Sink::kStore) out = static_cast<typename Format::T*>(row) + in_row;

  const auto head_by = [&](const AngleRows& angles) ROPEKV_INLINE_LAMBDA {
    ForSteps<0>(df, part.half, [&](int64_t, int64_t pair) ROPEKV_INLINE_LAMBDA {
      Vec lo_a, lo_b, hi_a, hi_b;
      const auto read = [&](int64_t channel, Vec& a, Vec& b) HWY_ATTR {
        typename V::Reader::template Param<FullVectors> scale_a, scale_b, bias_a, bias_b;
        reader.template LoadParams<InOrder>(df, channel, scale_a, scale_b, bias_a, bias_b);
        reader.template Load<InOrder>(df, 0, channel, scale_a, scale_b, bias_a, bias_b, a, b);
      };
      read(pair, lo_a, lo_b);
      read(upper + pair, hi_a, hi_b);
      if (part.rotated) {
        HWY_ALIGN float vectors[8 * hn::MaxLanes(FullVectors())];
        const auto put = [&](int64_t n, Vec value)
                             ROPEKV_INLINE_LAMBDA { hn::Store(value, df, vectors + n * lanes); };
        bool wide = false;
        if constexpr (V::kAnyAngles) {
          wide = angles.wide;
          if (wide) ReadAngles<V, InOrder, FormatF32>(angles, pair, put);
        }
        if (!wide) ReadAngles<V, InOrder, typename V::AnglesFormat>(angles, pair, put);
        const auto angle = [&](int64_t n)
                               ROPEKV_INLINE_LAMBDA { return hn::Load(df, vectors + n * lanes); };
        Turn<V, InOrder, false>(angle, lo_a, lo_b, hi_a, hi_b);
      }
      if (out) {
        auto check = Format::Begin(df);
        InOrder::Write<Format, Stores::kOrdinary>(df, lo_a, lo_b, out + pair, check);
        InOrder::Write<Format, Stores::kOrdinary>(df, hi_a, hi_b, out + upper + pair, check);
      }
      if (row == nullptr || part.sink == Sink::kStore) return;
      const auto store = [&](Vec a, Vec b, int64_t channel) HWY_ATTR {
        if (part.rotated) {
          a = Round::Result(df, a);
          b = Round::Result(df, b);
        }
        if (part.sink == Sink::kStoreAny) {
          return WriteAny(df, part.row_dtype, a, b, row, in_row + channel);
        }
        Vec scale_a, scale_b, offset_a, offset_b;
        LoadScales<InOrder>(df, part, head, channel, scale_a, scale_b, offset_a, offset_b);
        InOrder::StoreInt8<Stores::kOrdinary>(df, QuantiseByDivision(df, a, scale_a, offset_a),
                                              QuantiseByDivision(df, b, scale_b, offset_b),
                                              static_cast<int8_t*>(row) + in_row + channel);
      };
      store(lo_a, lo_b, pair);
      store(hi_a, hi_b, upper + pair);
    });
  };
  WithAngles<V>(call, token, head_by);
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_EXACT_INL_H_
