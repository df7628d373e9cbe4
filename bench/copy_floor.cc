// SPDX-License-Identifier: Apache-2.0
#include "bench/copy_floor.h"

#include <type_traits>

#include "bench/cache_row.h"

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
  int64_t element;  // bytes in one of x
  int64_t q_size;   // elements of a token
  int64_t kv_size;
  int64_t head_dim;
  CacheRow cache_row;
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

template <Stores kStores, int kElement, bool kKvOutput>
void CopyTokens(const CopyCall& call, int64_t begin, int64_t end) {
  const int64_t q_size = call.q_size;
  const int64_t kv_size = call.kv_size;
  const int64_t angle_bytes = call.head_dim * 2;
  constexpr int kWide = kKvOutput ? 2 : 0;
  for (int64_t t = begin; t < end; ++t) {
    const uint8_t* x = call.x + t * (q_size + 2 * kv_size) * kElement;
    const int64_t row = call.cache_row(t) * kv_size;
    if (call.activation_scale) static_cast<void>(call.activation_scale[t]);
    Move<kStores, 1, 0, 0>(angle_bytes, call.cos + t * angle_bytes, nullptr, nullptr);
    Move<kStores, 1, 0, 0>(angle_bytes, call.sin + t * angle_bytes, nullptr, nullptr);
    Move<kStores, kElement / 2, 1, 0>(q_size * 2, x, call.q + t * q_size * 2, nullptr);
    const auto copy_kv = [&](const uint8_t* in, uint8_t* out, uint8_t* cache) HWY_ATTR {
      if (kKvOutput) out += t * kv_size * 2;
      if (row >= 0) {
        Move<kStores, kElement, kWide, 1>(kv_size, in, out, cache + row);
      } else if (kKvOutput) {
        Move<kStores, kElement, kWide, 0>(kv_size, in, out, nullptr);
      }
    };
    copy_kv(x + q_size * kElement, call.k, call.k_cache);
    copy_kv(x + (q_size + kv_size) * kElement, call.v, call.v_cache);
  }
  if (kStores == Stores::kStreaming) hwy::FlushStream();
}

template <Stores kStores>
void CopyWith(const CopyCall& call, int64_t begin, int64_t end) {
  const auto copy = call.element == 4
                        ? (call.k ? CopyTokens<kStores, 4, true> : CopyTokens<kStores, 4, false>)
                        : (call.k ? CopyTokens<kStores, 2, true> : CopyTokens<kStores, 2, false>);
  copy(call, begin, end);
}

// Whether every vector written is aligned.
bool RowsAreAligned(const CopyCall& call) {
  const auto address = [](const void* data) { return reinterpret_cast<intptr_t>(data); };
  const int64_t all = address(call.q) | address(call.k) | address(call.v) | address(call.k_cache) |
                      address(call.v_cache) | call.q_size * 2 | call.kv_size;
  return all % static_cast<int64_t>(hn::Lanes(Bytes())) == 0;
}

void Copy(const CopyCall& call, Stores stores, int64_t begin, int64_t end) {
  if (stores == Stores::kStreaming && RowsAreAligned(call)) {
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
      .element = ElementBytes(spec.x.dtype),
      .q_size = spec.size_splits[0],
      .kv_size = spec.size_splits[1],
      .head_dim = spec.k_cache.shape[3],
      .cache_row = CacheRow(spec, args),
  };
}

}  // namespace

void CopyFloor(const Plan& plan, const Args& args, Stores stores, int num_threads) {
  const CopyCall call = CallOf(plan.spec(), args);
  ForParts(plan.num_tokens(), num_threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Copy)(call, stores, begin, end);
  });
}

int64_t BytesMoved(const Plan& plan, const Args& args) {
  const CopyCall call = CallOf(plan.spec(), args);
  const int64_t tokens = plan.num_tokens();
  const int64_t kv_out = call.k ? 2 : 0;
  int64_t bytes = 4 * plan.spec().indices.shape[0];
  if (call.activation_scale) bytes += 4 * tokens;
  bytes += tokens * (4 * call.head_dim + call.q_size * (call.element + 2));
  for (int64_t t = 0; t < tokens; ++t) {
    const bool cached = call.cache_row(t) >= 0;
    bytes += 2 * call.kv_size * (kv_out + cached);
    if (cached || kv_out) bytes += 2 * call.kv_size * call.element;
  }
  return bytes;
}

}  // namespace ropekv::bench
#endif  // HWY_ONCE
