// SPDX-License-Identifier: Apache-2.0
#include "bench/unfused_chain.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "bench/cache_row.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/unfused_chain.cc"
#include "kernels/targets.h"
// After targets.h, which chooses what it builds.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef ROPEKV_BENCH_CHAIN_CALL_
#define ROPEKV_BENCH_CHAIN_CALL_
namespace ropekv::bench {

struct ChainCall {
  const Spec& spec;
  const Args& args;
  CacheRow cache_row;
  int64_t hidden;
  int64_t q_size;
  int64_t kv_size;
  int64_t head_dim;
  float* values;
  float* cos;
  float* sin;
  int8_t* k;
  int8_t* v;
};

enum class Pass { kDequantise, kWidenTables, kRotate, kNarrow, kQuantise, kScatter };
inline constexpr Pass kPasses[] = {Pass::kDequantise, Pass::kWidenTables, Pass::kRotate,
                                   Pass::kNarrow,     Pass::kQuantise,    Pass::kScatter};

}  // namespace ropekv::bench
#endif

HWY_BEFORE_NAMESPACE();
namespace ropekv::bench::HWY_NAMESPACE {
namespace {

// The 16-bit formats, without branches, so that loops over them are vectorised.
template <DType dtype>
inline float Widen(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  if constexpr (dtype == DType::kBF16) return std::bit_cast<float>(bits);
  const uint32_t sign = bits & 0x80000000u;
  const uint32_t magnitude = (bits & 0x7FFFFFFFu) >> 3;
  // The product moves the exponent, exactly, and normalises what is subnormal.
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t special = magnitude | 0x7F800000u;
  return std::bit_cast<float>(sign | (magnitude >= 0x0F800000u ? special : finite));
}

template <DType dtype>
inline uint16_t Narrow(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  const bool nan = magnitude > 0x7F800000u;
  if constexpr (dtype == DType::kBF16) {
    return static_cast<uint16_t>((nan ? bits | 0x400000u : bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }
  const uint32_t normal = (magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13;
  // The unit in the last place of 0.5 is f16's smallest subnormal.
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
                             std::bit_cast<uint32_t>(0.5f);
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const uint32_t large = nan ? 0x7E00 : 0x7C00;
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | (magnitude >= 0x477FF000u ? large : finite));
}

// Where ascend numerics round.
template <bool ascend>
inline float Round(float value) {
  if constexpr (ascend) return Widen<DType::kF16>(Narrow<DType::kF16>(value));
  return value;
}

template <DType dtype>
void WidenArray(const void* in, float* __restrict out, int64_t begin, int64_t end) {
  const auto* halves = static_cast<const uint16_t*>(in);
  for (int64_t i = begin; i < end; ++i) out[i] = Widen<dtype>(halves[i]);
}

void Dequantise(const ChainCall& call, int64_t begin, int64_t end) {
  const int64_t hidden = call.hidden;
  if (call.spec.x.dtype == DType::kF16) {
    return WidenArray<DType::kF16>(call.args.x, call.values, begin * hidden, end * hidden);
  }
  if (call.spec.x.dtype == DType::kBF16) {
    return WidenArray<DType::kBF16>(call.args.x, call.values, begin * hidden, end * hidden);
  }
  const auto* scale = static_cast<const float*>(call.args.weight_scale);
  const auto* bias = static_cast<const float*>(call.args.bias);
  for (int64_t t = begin; t < end; ++t) {
    const auto* x = static_cast<const int32_t*>(call.args.x) + t * hidden;
    const float token_scale = call.spec.activation_scale.present()
                                  ? static_cast<const float*>(call.args.activation_scale)[t]
                                  : 1.0f;
    float* __restrict value = call.values + t * hidden;
    if (call.spec.bias.present()) {
      for (int64_t h = 0; h < hidden; ++h) {
        value[h] = static_cast<float>(x[h]) * scale[h] * token_scale + bias[h];
      }
    } else {
      for (int64_t h = 0; h < hidden; ++h) {
        value[h] = static_cast<float>(x[h]) * scale[h] * token_scale;
      }
    }
  }
}

template <DType dtype>
void WidenTables(const ChainCall& call, int64_t begin, int64_t end) {
  WidenArray<dtype>(call.args.cos, call.cos, begin * call.head_dim, end * call.head_dim);
  WidenArray<dtype>(call.args.sin, call.sin, begin * call.head_dim, end * call.head_dim);
}

template <bool ascend>
void Rotate(const ChainCall& call, int64_t begin, int64_t end) {
  const int64_t half = call.head_dim / 2;
  for (int64_t t = begin; t < end; ++t) {
    const float* cos = call.cos + t * call.head_dim;
    const float* sin = call.sin + t * call.head_dim;
    float* row = call.values + t * call.hidden;
    for (int64_t at = 0; at < call.q_size + call.kv_size; at += call.head_dim) {
      float* __restrict lo = row + at;
      float* __restrict hi = lo + half;
      for (int64_t i = 0; i < half; ++i) {
        const float a = Round<ascend>(lo[i]);
        const float b = Round<ascend>(hi[i]);
        lo[i] = Round<ascend>(Round<ascend>(a * cos[i]) - Round<ascend>(b * sin[i]));
        hi[i] = Round<ascend>(Round<ascend>(b * cos[i + half]) + Round<ascend>(a * sin[i + half]));
      }
    }
  }
}

template <DType dtype>
void NarrowRow(const float* in, void* tensor, int64_t token, int64_t size) {
  uint16_t* __restrict out = static_cast<uint16_t*>(tensor) + token * size;
  for (int64_t i = 0; i < size; ++i) out[i] = Narrow<dtype>(in[i]);
}

template <DType dtype>
void NarrowOutputs(const ChainCall& call, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const float* row = call.values + t * call.hidden;
    NarrowRow<dtype>(row, call.args.q, t, call.q_size);
    if (!call.spec.kv_output) continue;
    NarrowRow<dtype>(row + call.q_size, call.args.k, t, call.kv_size);
    NarrowRow<dtype>(row + call.q_size + call.kv_size, call.args.v, t, call.kv_size);
  }
}

void QuantiseRow(const float* in, const void* scales, int8_t* __restrict out, int64_t size) {
  const auto* scale = static_cast<const float*>(scales);
  for (int64_t i = 0; i < size; ++i) {
    const float level = in[i] / scale[i];
    const float number = level == level ? level : 0.0f;
    const float low = number < -128.0f ? -128.0f : number;
    out[i] = static_cast<int8_t>(static_cast<int32_t>(std::rint(low > 127.0f ? 127.0f : low)));
  }
}

void Quantise(const ChainCall& call, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const float* row = call.values + t * call.hidden + call.q_size;
    QuantiseRow(row, call.args.scale_k, call.k + t * call.kv_size, call.kv_size);
    QuantiseRow(row + call.kv_size, call.args.scale_v, call.v + t * call.kv_size, call.kv_size);
  }
}

void Scatter(const ChainCall& call, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const int64_t row = call.cache_row(t);
    if (row < 0) continue;
    const auto bytes = static_cast<size_t>(call.kv_size);
    std::memcpy(static_cast<int8_t*>(call.args.k_cache) + row, call.k + t * call.kv_size, bytes);
    std::memcpy(static_cast<int8_t*>(call.args.v_cache) + row, call.v + t * call.kv_size, bytes);
  }
}

void RunPass(Pass pass, const ChainCall& call, int64_t begin, int64_t end) {
  const bool f16 = call.spec.cos.dtype == DType::kF16;
  const bool ascend = f16 && call.spec.numerics == Numerics::kAscend;
  switch (pass) {
    case Pass::kDequantise: return Dequantise(call, begin, end);
    case Pass::kWidenTables:
      return (f16 ? WidenTables<DType::kF16> : WidenTables<DType::kBF16>)(call, begin, end);
    case Pass::kRotate: return (ascend ? Rotate<true> : Rotate<false>)(call, begin, end);
    case Pass::kNarrow:
      return (f16 ? NarrowOutputs<DType::kF16> : NarrowOutputs<DType::kBF16>)(call, begin, end);
    case Pass::kQuantise: return Quantise(call, begin, end);
    case Pass::kScatter: return Scatter(call, begin, end);
  }
}

}  // namespace
}  // namespace ropekv::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropekv::bench {

HWY_EXPORT(RunPass);

UnfusedChain::UnfusedChain(const Plan& plan, const Args& args) : plan_(plan), args_(args) {
  const Spec& spec = plan_.spec();
  const auto tokens = static_cast<size_t>(plan_.num_tokens());
  const auto [q_size, k_size, v_size] = spec.size_splits;
  values_.resize(tokens * static_cast<size_t>(q_size + k_size + v_size));
  cos_.resize(tokens * static_cast<size_t>(spec.k_cache.shape[3]));
  sin_.resize(cos_.size());
  k_.resize(tokens * static_cast<size_t>(k_size));
  v_.resize(k_.size());
}

void UnfusedChain::Run(int num_threads) {
  const Spec& spec = plan_.spec();
  const int64_t q_size = spec.size_splits[0];
  const int64_t kv_size = spec.size_splits[1];
  const ChainCall call{.spec = spec,
                       .args = args_,
                       .cache_row = CacheRow(spec, args_),
                       .hidden = q_size + 2 * kv_size,
                       .q_size = q_size,
                       .kv_size = kv_size,
                       .head_dim = spec.k_cache.shape[3],
                       .values = values_.data(),
                       .cos = cos_.data(),
                       .sin = sin_.data(),
                       .k = k_.data(),
                       .v = v_.data()};
  for (const Pass pass : kPasses) {
    ForParts(plan_.num_tokens(), num_threads, [&](int64_t begin, int64_t end) {
      HWY_DYNAMIC_DISPATCH(RunPass)(pass, call, begin, end);
    });
  }
}

}  // namespace ropekv::bench
#endif  // HWY_ONCE
