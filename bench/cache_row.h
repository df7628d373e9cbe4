// SPDX-License-Identifier: Apache-2.0
// What the copy and the unfused chain share: where a token's cache row is, and the threads.
#ifndef ROPEKV_BENCH_CACHE_ROW_H_
#define ROPEKV_BENCH_CACHE_ROW_H_

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cstdint>

#include "ropekv/ropekv.h"

namespace ropekv::bench {

// The number of a token's row in row-major caches; negative for padding.
class CacheRow {
 public:
  CacheRow(const Spec& spec, const Args& args)
      : indices_(static_cast<const int32_t*>(args.indices)),
        paged_(spec.cache_layout == CacheLayout::kPaged),
        seq_(spec.x.rank == 3 ? spec.x.shape[1] : 1),
        entries_(spec.k_cache.shape[1]) {}

  int64_t operator()(int64_t token) const {
    if (paged_) return indices_[token];
    const int64_t batch = token / seq_;
    return batch * entries_ + indices_[batch] + token % seq_;
  }

 private:
  const int32_t* indices_;
  bool paged_;
  int64_t seq_;
  int64_t entries_;
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
