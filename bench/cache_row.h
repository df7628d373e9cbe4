// SPDX-License-Identifier: Apache-2.0
// What the copy and the unfused chain share: where a token's rows are, and the threads.
#ifndef ROPEKV_BENCH_CACHE_ROW_H_
#define ROPEKV_BENCH_CACHE_ROW_H_

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cstdint>

#include "ropekv/ropekv.h"

namespace ropekv::bench {

// Row-major `indices` or `positions` of either dtype.
class Integers {
 public:
  Integers(const TensorSpec& spec, const void* data)
      : data_(data), wide_(spec.dtype == DType::kI64) {}

  int64_t operator[](int64_t i) const {
    return wide_ ? static_cast<const int64_t*>(data_)[i] : static_cast<const int32_t*>(data_)[i];
  }

 private:
  const void* data_;
  bool wide_;
};

// How many elements from the start of a cache a token's first head lies; negative for padding. Both
// caches have the same strides.
class CacheRow {
 public:
  CacheRow(const Spec& spec, const Args& args)
      : indices_(spec.indices, args.indices),
        paged_(spec.cache_layout == CacheLayout::kPaged),
        seq_(spec.x.rank == 3 ? spec.x.shape[1] : 1),
        entries_(spec.k_cache.shape[1]),
        block_stride_(spec.k_cache.stride[0]),
        entry_stride_(spec.k_cache.stride[1]),
        one_run_(block_stride_ == entries_ * entry_stride_) {}

  int64_t operator()(int64_t token) const {
    if (!paged_) {
      const int64_t batch = token / seq_;
      return batch * block_stride_ + (indices_[batch] + token % seq_) * entry_stride_;
    }
    const int64_t slot = indices_[token];
    if (slot < 0) return -1;
    if (one_run_) return slot * entry_stride_;
    return slot / entries_ * block_stride_ + slot % entries_ * entry_stride_;
  }

 private:
  Integers indices_;
  bool paged_;
  int64_t seq_;
  int64_t entries_;
  int64_t block_stride_;
  int64_t entry_stride_;
  bool one_run_;
};

// Which row of cos and sin a token has.
class AngleRow {
 public:
  AngleRow(const Spec& spec, const Args& args)
      : positions_(spec.positions, args.positions), by_position_(spec.positions.present()) {}

  int64_t operator()(int64_t token) const { return by_position_ ? positions_[token] : token; }

 private:
  Integers positions_;
  bool by_position_;
};

// Shares tokens [0, count) among threads as Run does: one part a thread, work(begin, end).
template <class Work>
void ForParts(int64_t count, int num_threads, const Work& work) {
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(num_threads, count));
  if (parts == 1) return work(0, count);
  oneapi::tbb::parallel_for(
      int64_t{0}, parts,
      [&](int64_t part) { work(count * part / parts, count * (part + 1) / parts); },
      oneapi::tbb::simple_partitioner());
}

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_CACHE_ROW_H_
