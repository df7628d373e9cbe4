// SPDX-License-Identifier: Apache-2.0
#include "bench/copy_floor.h"

#include <oneapi/tbb/parallel_for.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/copy_floor.cc"
#include "kernels/targets.h"
// After targets.h, which chooses what it builds.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef ROPEKV_BENCH_COPY_PART_
#define ROPEKV_BENCH_COPY_PART_
namespace ropekv::bench {

// For each of `steps` vectors' worth of the widest-ratio output: `loads` vectors in, `wide_stores`
// vectors to `wide`, one to `narrow` unless it is null.
struct CopyPart {
  const uint8_t* in;
  int64_t bytes_in;
  int64_t loads;
  uint8_t* wide;
  int64_t wide_stores;
  uint8_t* narrow;
};

}  // namespace ropekv::bench
#endif

HWY_BEFORE_NAMESPACE();
namespace ropekv::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <Stores kStores, int kLoads, int kWideStores>
void Copy(const CopyPart& part) {
  const hn::ScalableTag<uint8_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto store = [&](auto value, uint8_t* to) HWY_ATTR {
    if constexpr (kStores == Stores::kStreaming) {
      hn::Stream(value, d, to);
    } else {
      hn::StoreU(value, d, to);
    }
  };
  const uint8_t* in = part.in;
  uint8_t* wide = part.wide;
  uint8_t* narrow = part.narrow;
  auto kept = hn::Zero(d);
  for (const uint8_t* end = in + part.bytes_in; in != end; in += kLoads * lanes) {
    auto value = hn::LoadU(d, in);
    for (int i = 1; i < kLoads; ++i) value = hn::Or(value, hn::LoadU(d, in + i * lanes));
    for (int i = 0; i < kWideStores; ++i, wide += lanes) store(value, wide);
    if (narrow) {
      store(value, narrow);
      narrow += lanes;
    }
    if (kWideStores == 0) kept = hn::Or(kept, value);
  }
  // Loads whose value nobody needs would be removed.
  if (kWideStores == 0) {
    alignas(64) static thread_local uint8_t sink[HWY_MAX_BYTES];
    hn::Store(kept, d, sink);
  }
}

void CopyParts(const CopyPart* parts, int count, Stores stores) {
  for (int i = 0; i < count; ++i) {
    const CopyPart& part = parts[i];
    const auto run = [&](auto loads, auto wide_stores) HWY_ATTR {
      if (stores == Stores::kStreaming) {
        Copy<Stores::kStreaming, loads(), wide_stores()>(part);
      } else {
        Copy<Stores::kOrdinary, loads(), wide_stores()>(part);
      }
    };
    using std::integral_constant;
    const auto with_loads = [&](auto wide_stores) HWY_ATTR {
      if (part.loads == 1) run(integral_constant<int, 1>(), wide_stores);
      if (part.loads == 2) run(integral_constant<int, 2>(), wide_stores);
      if (part.loads == 4) run(integral_constant<int, 4>(), wide_stores);
    };
    if (part.wide_stores == 0) with_loads(integral_constant<int, 0>());
    if (part.wide_stores == 1) with_loads(integral_constant<int, 1>());
    if (part.wide_stores == 2) with_loads(integral_constant<int, 2>());
  }
}

}  // namespace
}  // namespace ropekv::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropekv::bench {
namespace {

HWY_EXPORT(CopyParts);

class Floor {
 public:
  Floor(const Plan& plan, const Args& args, Stores stores)
      : spec_(plan.spec()), args_(args), stores_(stores) {}

  void Run(int64_t begin, int64_t end) const {
    const int64_t element = ElementBytes(spec_.x.dtype);
    const auto [q_size, kv_size, unused] = spec_.size_splits;
    const int64_t head_dim = spec_.k_cache.shape[3];
    for (int64_t t = begin; t < end; ++t) {
      const uint8_t* x = In(args_.x) + t * (q_size + 2 * kv_size) * element;
      const int64_t row = CacheRow(t) * kv_size;
      const CopyPart parts[] = {
          {In(args_.cos) + t * head_dim * 2, head_dim * 2, 1, nullptr, 0, nullptr},
          {In(args_.sin) + t * head_dim * 2, head_dim * 2, 1, nullptr, 0, nullptr},
          {x, q_size * element, element / 2, Out(args_.q) + t * q_size * 2, 1, nullptr},
          KvPart(x + q_size * element, t, args_.k, args_.k_cache, row),
          KvPart(x + (q_size + kv_size) * element, t, args_.v, args_.v_cache, row),
      };
      HWY_DYNAMIC_DISPATCH(CopyParts)(parts, static_cast<int>(std::size(parts)), stores_);
    }
  }

 private:
  static const uint8_t* In(const void* data) { return static_cast<const uint8_t*>(data); }
  static uint8_t* Out(void* data) { return static_cast<uint8_t*>(data); }

  CopyPart KvPart(const uint8_t* in, int64_t token, void* out, void* cache, int64_t row) const {
    const int64_t element = ElementBytes(spec_.x.dtype);
    const int64_t kv_size = spec_.size_splits[1];
    return {in,
            kv_size * element,
            element,
            spec_.kv_output ? Out(out) + token * kv_size * 2 : nullptr,
            spec_.kv_output ? 2 : 0,
            row < 0 ? nullptr : Out(cache) + row};
  }

  int64_t CacheRow(int64_t token) const {
    const auto* indices = static_cast<const int32_t*>(args_.indices);
    if (spec_.cache_layout == CacheLayout::kPaged) return indices[token];
    const int64_t seq = spec_.x.rank == 3 ? spec_.x.shape[1] : 1;
    const int64_t batch = token / seq;
    return batch * spec_.k_cache.shape[1] + indices[batch] + token % seq;
  }

  const Spec& spec_;
  const Args& args_;
  const Stores stores_;
};

}  // namespace

void CopyFloor(const Plan& plan, const Args& args, Stores stores, int num_threads) {
  const Floor floor(plan, args, stores);
  const int64_t tokens = plan.num_tokens();
  if (num_threads == 1) return floor.Run(0, tokens);
  oneapi::tbb::parallel_for(
      0, num_threads,
      [&](int64_t part) {
        floor.Run(tokens * part / num_threads, tokens * (part + 1) / num_threads);
      },
      oneapi::tbb::simple_partitioner());
}

int64_t BytesMoved(const Spec& spec) {
  const auto [q_size, kv_size, unused] = spec.size_splits;
  const int64_t tokens =
      spec.x.rank == 3 ? spec.x.shape[0] * spec.x.shape[1] : spec.x.shape[0];
  const int64_t element = ElementBytes(spec.x.dtype);
  return tokens * ((q_size + 2 * kv_size) * element + 4 * spec.k_cache.shape[3] + 2 * q_size +
                   2 * kv_size + (spec.kv_output ? 4 * kv_size : 0));
}

}  // namespace ropekv::bench
#endif  // HWY_ONCE
