// SPDX-License-Identifier: Apache-2.0
// clang-format off
#include "kernels/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/exact.cc"
#include "hwy/foreach_target.h"
// clang-format on

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/exact-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/pack-inl.h"
#include "kernels/quantise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {
namespace {

using DF = FullVectors;
using Vec = Float32<DF>;

// Where the two channels of pair 0 are in a row; those of pair n are n * step further.
struct Pairs {
  bool neighbours;   // channels 2n and 2n + 1
  int64_t distance;  // otherwise n and n + distance
};

template <class T, class V = hn::Vec<hn::Rebind<T, DF>>>
HWY_INLINE void LoadPairs(const T* row, Pairs pairs, int64_t pair, V& lo, V& hi) {
  const hn::Rebind<T, DF> d;
  if (pairs.neighbours) return hn::LoadInterleaved2(d, row + 2 * pair, lo, hi);
  lo = hn::LoadU(d, row + pair);
  hi = hn::LoadU(d, row + pair + pairs.distance);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void StorePairs(D d, V lo, V hi, hn::TFromD<D>* row, Pairs pairs, int64_t pair) {
  if (pairs.neighbours) return hn::StoreInterleaved2(lo, hi, d, row + 2 * pair);
  hn::StoreU(lo, d, row + pair);
  hn::StoreU(hi, d, row + pair + pairs.distance);
}

HWY_INLINE void ReadPairs(DType dtype, const void* row, Pairs pairs, int64_t pair, Vec& lo,
                          Vec& hi) {
  WithFormat(dtype, [&](auto format) ROPEKV_INLINE_LAMBDA {
    using Format = decltype(format);
    hn::Vec<hn::Rebind<typename Format::T, DF>> lo_bits, hi_bits;
    LoadPairs(static_cast<const typename Format::T*>(row), pairs, pair, lo_bits, hi_bits);
    lo = Format::ToF32(DF(), lo_bits);
    hi = Format::ToF32(DF(), hi_bits);
  });
}

HWY_INLINE void WritePairs(DType dtype, Vec lo, Vec hi, void* row, Pairs pairs, int64_t pair) {
  WithFormat(dtype, [&](auto format) ROPEKV_INLINE_LAMBDA {
    using Format = decltype(format);
    const hn::Rebind<typename Format::T, DF> d;
    StorePairs(d, Format::FromF32(DF(), lo), Format::FromF32(DF(), hi),
               static_cast<typename Format::T*>(row), pairs, pair);
  });
}

// float(x + int32_bias) * weight_scale * activation_scale + bias, in this order.
HWY_INLINE void DequantisePairs(const KernelCall& call, int64_t token, int64_t channel, Pairs pairs,
                                int64_t pair, Vec& lo, Vec& hi) {
  const DF df;
  const int64_t element = token * call.x_token_stride + channel;
  const char* x = static_cast<const char*>(call.x) + element * ElementBytes(call.x_dtype);
  if (call.x_dtype != DType::kI32) return ReadPairs(call.x_dtype, x, pairs, pair, lo, hi);

  hn::Vec<hn::RebindToSigned<DF>> lo_int, hi_int;
  LoadPairs(reinterpret_cast<const int32_t*>(x), pairs, pair, lo_int, hi_int);
  const char* bias = static_cast<const char*>(call.bias) + channel * ElementBytes(call.bias_dtype);
  if (call.bias_dtype == DType::kI32) {
    // Highway's sums wrap, as the contract's do.
    hn::Vec<hn::RebindToSigned<DF>> lo_bias, hi_bias;
    LoadPairs(reinterpret_cast<const int32_t*>(bias), pairs, pair, lo_bias, hi_bias);
    lo_int = hn::Add(lo_int, lo_bias);
    hi_int = hn::Add(hi_int, hi_bias);
  }
  Vec lo_scale, hi_scale;
  LoadPairs(call.weight_scale + channel, pairs, pair, lo_scale, hi_scale);
  lo = hn::Mul(hn::ConvertTo(df, lo_int), lo_scale);
  hi = hn::Mul(hn::ConvertTo(df, hi_int), hi_scale);
  if (call.activation_scale) {
    const auto scale = hn::Set(df, call.activation_scale[token * call.activation_stride]);
    lo = hn::Mul(lo, scale);
    hi = hn::Mul(hi, scale);
  }
  if (call.bias_dtype == DType::kNone || call.bias_dtype == DType::kI32) return;
  Vec lo_bias, hi_bias;
  ReadPairs(call.bias_dtype, bias, pairs, pair, lo_bias, hi_bias);
  lo = hn::Add(lo, lo_bias);
  hi = hn::Add(hi, hi_bias);
}

// To f16 where those numerics round (twice: docs/numerics.md, lemma 3).
HWY_INLINE Vec Round(const KernelCall& call, Vec value) {
  if (!call.ascend) return value;
  return FormatF16::ToF32(DF(), FormatF16::FromF32(DF(), value));
}

HWY_INLINE void RotatePairs(const KernelCall& call, int64_t token, Pairs pairs, int64_t pair,
                            Vec& lo, Vec& hi) {
  if (call.half_width_angles) pairs = {.neighbours = false, .distance = 0};
  Vec cos_lo, cos_hi, sin_lo, sin_hi;
  ReadPairs(call.angles_dtype, call.cos[token], pairs, pair, cos_lo, cos_hi);
  ReadPairs(call.angles_dtype, call.sin[token], pairs, pair, sin_lo, sin_hi);
  const auto a = Round(call, lo), b = Round(call, hi);
  lo = hn::Sub(Round(call, hn::Mul(a, cos_lo)), Round(call, hn::Mul(b, sin_lo)));
  hi = hn::Add(Round(call, hn::Mul(b, cos_hi)), Round(call, hn::Mul(a, sin_hi)));
}

// saturate_int8(rint(value)), as i32.
HWY_INLINE Int32<DF> ToInt8(Vec value) {
  const DF df;
  value = hn::IfThenZeroElse(hn::IsNaN(value), value);
  value = hn::Min(hn::Max(value, hn::Set(df, -128.0f)), hn::Set(df, 127.0f));
  // 1.5 * 2^23 has an ulp of 1: the sum with it is rounded to nearest even by the addition itself,
  // and its low 16 bits are the integer. Highway's NearestInt carries an overflow fix-up that
  // clamped values do not need.
  const hn::RebindToSigned<DF> di;
  const auto sum = hn::BitCast(di, hn::Add(value, hn::Set(df, 12582912.0f)));
  return hn::ShiftRight<16>(hn::ShiftLeft<16>(sum));
}

// `offsets` may be null.
HWY_INLINE void QuantisePairs(const float* scales, const float* offsets, Pairs pairs, int64_t pair,
                              Vec lo, Vec hi, void* row) {
  Vec lo_scale, hi_scale, lo_offset, hi_offset;
  LoadPairs(scales, pairs, pair, lo_scale, hi_scale);
  lo = hn::Div(lo, lo_scale);
  hi = hn::Div(hi, hi_scale);
  if (offsets) {
    LoadPairs(offsets, pairs, pair, lo_offset, hi_offset);
    lo = hn::Add(lo, lo_offset);
    hi = hn::Add(hi, hi_offset);
  }
  const hn::Rebind<int8_t, DF> d8;
  StorePairs(d8, hn::DemoteTo(d8, ToInt8(lo)), hn::DemoteTo(d8, ToInt8(hi)),
             static_cast<int8_t*>(row), pairs, pair);
}

// Calls body(first) for vectors of `count` values. The last one is pulled back to end at the last
// value, and does some again.
template <class Body>
HWY_INLINE void ForVectors(int64_t count, const Body& body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
  for (int64_t i = 0; i < count; i += lanes) body(HWY_MIN(i, count - lanes));
}

}  // namespace

void ExactHead(const KernelCall& call, const PartCall& part, int64_t token, int64_t head,
               ExactRoom& room) {
  const Pairs pairs = {.neighbours = part.rotated && call.interleaved,
                       .distance = part.channels / 2};
  const int64_t in_x = part.first_channel + head * call.head_dim;
  char* out = static_cast<char*>(part.out);
  const int64_t out_element = token * part.out_token_stride + head * part.out_head_stride;
  if (out) out += out_element * ElementBytes(call.out_dtype);
  char* row = part.rows ? static_cast<char*>(part.rows[token]) : nullptr;
  const int64_t row_element = part.row_offset + head * part.row_head_stride;
  if (row) row += row_element * ElementBytes(part.row_dtype);

  const float* const scales = SideBySide(part.scale, head, part.channels, room[0]);
  const float* const offsets = SideBySide(part.offset, head, part.channels, room[1]);

  ForVectors(part.channels / 2, [&](int64_t pair) ROPEKV_INLINE_LAMBDA {
    Vec lo, hi;
    DequantisePairs(call, token, in_x, pairs, pair, lo, hi);
    if (part.rotated) RotatePairs(call, token, pairs, pair, lo, hi);
    if (out) WritePairs(call.out_dtype, lo, hi, out, pairs, pair);
    if (row == nullptr) return;
    if (part.rotated) {
      lo = Round(call, lo);
      hi = Round(call, hi);
    }
    if (part.sink != Sink::kQuantise) {
      return WritePairs(part.row_dtype, lo, hi, row, pairs, pair);
    }
    QuantisePairs(scales, offsets, pairs, pair, lo, hi, row);
  });
}

void RunExactly(const KernelCall& call) {
  ExactRoom room;
  for (int64_t token = 0; token < call.num_tokens; ++token) {
    for (int p = 0; p < call.num_parts; ++p) {
      for (int64_t head = 0; head < call.parts[p].num_heads; ++head) {
        ExactHead(call, call.parts[p], token, head, room);
      }
    }
  }
}

void Widen(DType dtype, const void* from, int64_t count, float* to) {
  WithFormat(dtype, [&](auto format) ROPEKV_INLINE_LAMBDA {
    using T = typename decltype(format)::T;
    ForVectors(count, [&](int64_t i) ROPEKV_INLINE_LAMBDA {
      const auto bits = hn::LoadU(hn::Rebind<T, DF>(), static_cast<const T*>(from) + i);
      hn::StoreU(decltype(format)::ToF32(DF(), bits), DF(), to + i);
    });
  });
}

const float* SideBySide(const ScaleView& view, int64_t head, int64_t channels, float* room) {
  if (view.data == nullptr) return nullptr;
  const float* const from = view.data + head * view.head_stride;
  if (view.channel_stride == 1) return from;
  if (view.channel_stride == 0) {
    // One for all of them. Channel by channel it would take a call 500 ns.
    ForVectors(channels, [&](int64_t i) ROPEKV_INLINE_LAMBDA {
      hn::StoreU(hn::Set(DF(), *from), DF(), room + i);
    });
  } else {
    for (int64_t i = 0; i < channels; ++i) room[i] = from[i * view.channel_stride];
  }
  return room;
}

void AddInt32(const int32_t* a, const int32_t* b, int64_t count, int32_t* to) {
  const hn::RebindToSigned<DF> di;
  ForVectors(count, [&](int64_t i) ROPEKV_INLINE_LAMBDA {
    hn::StoreU(hn::Add(hn::LoadU(di, a + i), hn::LoadU(di, b + i)), di, to + i);
  });
}

#if HWY_TARGET != HWY_SCALAR
template void PrepareTables<LaneOrder::kInOrder>(const PartCall&);
template void PrepareTables<LaneOrder::kEvenOdd>(const PartCall&);
#if HWY_TARGET == HWY_AVX3
template void PrepareTables<LaneOrder::kInBlocks>(const PartCall&);
#endif
#endif

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
