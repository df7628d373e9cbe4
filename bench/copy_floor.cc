// SPDX-License-Identifier: Apache-2.0
#include "bench/copy_floor.h"

#include <algorithm>
#include <type_traits>

#include "bench/cache_row.h"
#include "workload/case.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/copy_floor.cc"
#include "kernels/targets.h"
// After targets.h, which chooses what it builds.
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef ROPEKV_BENCH_COPY_CALL_
#define ROPEKV_BENCH_COPY_CALL_
namespace ropekv::bench {

// A call as addresses of bytes. Absent tensors are null.
struct CopyCall {
  const uint8_t* x;
  const uint8_t* cos;
  const uint8_t* sin;
  const volatile uint32_t* activation_scale;  // volatile: read, though nobody needs it
  uint8_t* q;
  uint8_t* k;
  uint8_t* v;
  uint8_t* k_cache;
  uint8_t* v_cache;
  int64_t x_element;  // bytes in one of x, of q, k and v, of the caches
  int64_t out_element;
  int64_t cache_element;
  int64_t q_size;  // elements of a token
  int64_t kv_size;
  int64_t kv_run;        // of them, those that lie side by side in a cache: all, or a head's
  int64_t head_stride;   // elements from one run to the next
  int64_t angle_bytes;   // in a row of cos
  int64_t angle_stride;  // bytes from one row to the next
  int64_t q_stride;      // ... and of q, k and v
  int64_t kv_stride;
  CacheRow cache_row;
  AngleRow angle_row;
};

}  // namespace ropekv::bench
#endif

HWY_BEFORE_NAMESPACE();
namespace ropekv::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Bytes = hn::ScalableTag<uint8_t>;
using OneByte = hn::CappedTag<uint8_t, 1>;

template <Stores kStores, class D>
HWY_INLINE void StoreTo(uint8_t* to, hn::Vec<D> value) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kStores == Stores::kStreaming && hn::MaxLanes(D()) == 64) {
    // In halves of a line: 8 % faster on Zen 4.
    const hn::Half<D> half;
    hn::Stream(hn::LowerHalf(half, value), half, to);
    hn::Stream(hn::UpperHalf(half, value), half, to + hn::Lanes(half));
    return;
  }
#endif
  if constexpr (kStores == Stores::kStreaming) {
    hn::Stream(value, D(), to);
  } else {
    hn::StoreU(value, D(), to);
  }
}

// Reads kIn vectors, writes kWide vectors to `wide` and kNarrow to `narrow`. The value written
// depends on all that was read: loads of which nothing depends would be removed.
template <Stores kStores, int kIn, int kWide, int kNarrow, class D>
HWY_INLINE hn::Vec<D> Step(const uint8_t* in, uint8_t* wide, uint8_t* narrow) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  auto value = hn::LoadU(D(), in);
  for (int i = 1; i < kIn; ++i) value = hn::Or(value, hn::LoadU(D(), in + i * lanes));
  for (int i = 0; i < kWide; ++i) StoreTo<kStores, D>(wide + i * lanes, value);
  for (int i = 0; i < kNarrow; ++i) StoreTo<kStores, D>(narrow + i * lanes, value);
  return value;
}

// kIn * size bytes in, kWide * size and kNarrow * size bytes out.
template <Stores kStores, int kIn, int kWide, int kNarrow, class D = Bytes>
HWY_INLINE void Move(int64_t size, const uint8_t* in, uint8_t* wide, uint8_t* narrow) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  if (size < lanes) {
    if constexpr (!std::is_same_v<D, OneByte>) {
      Move<Stores::kOrdinary, kIn, kWide, kNarrow, OneByte>(size, in, wide, narrow);
    }
    return;
  }
  auto last = hn::Zero(D());
  const auto step_at = [&](auto stores, int64_t at) HWY_ATTR {
    const auto value = Step<decltype(stores)::value, kIn, kWide, kNarrow, D>(
        in + kIn * at, wide + kWide * at, narrow + kNarrow * at);
    if (kWide + kNarrow == 0) last = hn::Or(last, value);
  };
  int64_t at = 0;
  for (; at + lanes <= size; at += lanes) {
    step_at(std::integral_constant<Stores, kStores>(), at);
  }
  // A rest shorter than a vector: the last vector again, pulled back. Where bytes written stand for
  // several read, those of the first time would be lost.
  if (at < size) {
    if constexpr (kIn > 1 && !std::is_same_v<D, OneByte>) {
      Move<Stores::kOrdinary, kIn, kWide, kNarrow, OneByte>(
          size - at, in + kIn * at, wide + kWide * at, narrow + kNarrow * at);
    } else {
      step_at(std::integral_constant<Stores, Stores::kOrdinary>(), size - lanes);
    }
  }
  if (kWide + kNarrow == 0) {
    alignas(64) static thread_local uint8_t sink[HWY_MAX_BYTES];
    hn::StoreU(last, D(), sink);
  }
}

// kX : kOut : kCache are the sizes of the elements of x, of q, k and v, and of the caches, in the
// smallest of the three; kOut is 1 if nothing but q is written.
template <Stores kStores, int kX, int kOut, int kCache, bool kKvOutput>
void CopyTokens(const CopyCall& call, int64_t begin, int64_t end) {
  constexpr int kQIn = kX / kOut;
  constexpr int kWide = kKvOutput ? kOut : 0;
  const int64_t unit = call.x_element / kX;
  const int64_t x_bytes = (call.q_size + 2 * call.kv_size) * call.x_element;
  for (int64_t t = begin; t < end; ++t) {
    const uint8_t* x = call.x + t * x_bytes;
    const int64_t row = call.cache_row(t);
    const int64_t angles = call.angle_row(t) * call.angle_stride;
    if (call.activation_scale) static_cast<void>(call.activation_scale[t]);
    Move<kStores, 1, 0, 0>(call.angle_bytes, call.cos + angles, nullptr, nullptr);
    Move<kStores, 1, 0, 0>(call.angle_bytes, call.sin + angles, nullptr, nullptr);
    Move<kStores, kQIn, 1, 0>(call.q_size * call.out_element, x, call.q + t * call.q_stride,
                              nullptr);
    const auto copy_kv = [&](const uint8_t* in, uint8_t* out, uint8_t* cache) HWY_ATTR {
      if (kKvOutput) out += t * call.kv_stride;
      if (row < 0) {
        if (kKvOutput) Move<kStores, kX, kWide, 0>(call.kv_size * unit, in, out, nullptr);
        return;
      }
      cache += row * call.cache_element;
      for (int64_t at = 0; at < call.kv_size; at += call.kv_run) {
        Move<kStores, kX, kWide, kCache>(call.kv_run * unit, in, out, cache);
        in += call.kv_run * call.x_element;
        if (kKvOutput) out += call.kv_run * call.out_element;
        cache += call.head_stride * call.cache_element;
      }
    };
    copy_kv(x + call.q_size * call.x_element, call.k, call.k_cache);
    copy_kv(x + (call.q_size + call.kv_size) * call.x_element, call.v, call.v_cache);
  }
  if (kStores == Stores::kStreaming) hwy::FlushStream();
}

template <Stores kStores, int kX, int kOut, int kCache>
void CopyOutputs(const CopyCall& call, int64_t begin, int64_t end) {
  (call.k ? CopyTokens<kStores, kX, kOut, kCache, true>
          : CopyTokens<kStores, kX, kOut, kCache, false>)(call, begin, end);
}

template <Stores kStores>
void CopyWith(const CopyCall& call, int64_t begin, int64_t end) {
  const int64_t unit = std::min({call.x_element, call.out_element, call.cache_element});
  const int64_t sizes =
      call.x_element / unit * 100 + call.out_element / unit * 10 + call.cache_element / unit;
  switch (sizes) {
    case 111: return CopyOutputs<kStores, 1, 1, 1>(call, begin, end);
    case 112: return CopyOutputs<kStores, 1, 1, 2>(call, begin, end);
    case 211: return CopyOutputs<kStores, 2, 1, 1>(call, begin, end);
    case 212: return CopyOutputs<kStores, 2, 1, 2>(call, begin, end);
    case 221: return CopyOutputs<kStores, 2, 2, 1>(call, begin, end);
    case 421: return CopyOutputs<kStores, 4, 2, 1>(call, begin, end);
    case 441: return CopyOutputs<kStores, 4, 4, 1>(call, begin, end);
  }
}

// Whether every vector written is aligned.
bool RowsAreAligned(const CopyCall& call, const TensorSpec& cache) {
  const auto address = [](const void* data) { return reinterpret_cast<intptr_t>(data); };
  const int64_t outputs = address(call.q) | address(call.k) | address(call.v) | call.q_stride |
                          (call.k ? call.kv_stride | call.kv_run * call.out_element : 0);
  const int64_t caches =
      address(call.k_cache) | address(call.v_cache) |
      (cache.stride[0] | cache.stride[1] | call.head_stride | call.kv_run) * call.cache_element;
  return (outputs | caches) % static_cast<int64_t>(hn::Lanes(Bytes())) == 0;
}

void Copy(const CopyCall& call, const TensorSpec& cache, Stores stores, int64_t begin,
          int64_t end) {
  if (stores == Stores::kStreaming && RowsAreAligned(call, cache)) {
    CopyWith<Stores::kStreaming>(call, begin, end);
  } else {
    CopyWith<Stores::kOrdinary>(call, begin, end);
  }
}

}  // namespace
}  // namespace ropekv::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropekv::bench {
namespace {

HWY_EXPORT(Copy);

CopyCall CallOf(const Spec& spec, const Args& args) {
  const auto in = [](const void* data) { return static_cast<const uint8_t*>(data); };
  const auto out = [](void* data) { return static_cast<uint8_t*>(data); };
  const bool has_activation_scale = spec.x.dtype == DType::kI32 && spec.activation_scale.present();
  const int64_t kv_size = spec.size_splits[1];
  const int64_t head_dim = spec.k_cache.shape[3];
  const TensorSpec& cos = spec.cos;
  const auto token_bytes = [](const TensorSpec& heads) {
    return heads.stride[heads.rank - 3] * ElementBytes(heads.dtype);
  };
  const bool whole_rows = spec.k_cache.stride[2] == head_dim || spec.k_cache.shape[2] <= 1;
  return {
      .x = in(args.x),
      .cos = in(args.cos),
      .sin = in(args.sin),
      .activation_scale = has_activation_scale
                              ? static_cast<const volatile uint32_t*>(args.activation_scale)
                              : nullptr,
      .q = out(args.q),
      .k = spec.kv_output ? out(args.k) : nullptr,
      .v = spec.kv_output ? out(args.v) : nullptr,
      .k_cache = out(args.k_cache),
      .v_cache = out(args.v_cache),
      .x_element = ElementBytes(spec.x.dtype),
      .out_element = ElementBytes(spec.q.dtype),
      .cache_element = ElementBytes(spec.k_cache.dtype),
      .q_size = spec.size_splits[0],
      .kv_size = kv_size,
      .kv_run = whole_rows ? kv_size : head_dim,
      .head_stride = whole_rows ? kv_size : spec.k_cache.stride[2],
      .angle_bytes = cos.shape[cos.rank - 1] * ElementBytes(cos.dtype),
      .angle_stride = cos.stride[cos.rank - 2] * ElementBytes(cos.dtype),
      .q_stride = token_bytes(spec.q),
      .kv_stride = spec.kv_output ? token_bytes(spec.k) : 0,
      .cache_row = CacheRow(spec, args),
      .angle_row = AngleRow(spec, args),
  };
}

}  // namespace

void CopyFloor(const Plan& plan, const Args& args, Stores stores, int num_threads) {
  const CopyCall call = CallOf(plan.spec(), args);
  ForParts(plan.num_tokens(), num_threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Copy)(call, plan.spec().k_cache, stores, begin, end);
  });
}

int64_t BytesMoved(const Plan& plan, const Args& args) {
  const Spec& spec = plan.spec();
  const CopyCall call = CallOf(spec, args);
  const int64_t tokens = plan.num_tokens();
  const int64_t kv_out = call.k ? call.out_element : 0;
  int64_t bytes = workload::NumBytes(spec.indices);
  if (spec.positions.present()) bytes += workload::NumBytes(spec.positions);
  if (call.activation_scale) bytes += 4 * tokens;
  bytes += tokens * (2 * call.angle_bytes + call.q_size * (call.x_element + call.out_element));
  for (int64_t t = 0; t < tokens; ++t) {
    const bool cached = call.cache_row(t) >= 0;
    bytes += 2 * call.kv_size * (kv_out + (cached ? call.cache_element : 0));
    if (cached || kv_out) bytes += 2 * call.kv_size * call.x_element;
  }
  return bytes;
}

}  // namespace ropekv::bench
#endif  // HWY_ONCE
