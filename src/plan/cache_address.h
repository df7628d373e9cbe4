// SPDX-License-Identifier: Apache-2.0
// Token -> the first element of its cache row; one struct a layout.
#ifndef ROPEKV_PLAN_CACHE_ADDRESS_H_
#define ROPEKV_PLAN_CACHE_ADDRESS_H_

#include <cstdint>

#include "ropekv/types.h"

namespace ropekv::internal {

inline constexpr int64_t kPadding = INT64_MIN;

// Offsets and strides are in elements. `indices[i]` gives entry i.

// cache[b][indices[b] + s]
struct ContiguousAddress {
  int64_t seq_len;
  int64_t row_stride;
  int64_t position_stride;

  ContiguousAddress(const TensorSpec& cache, int64_t seq)
      : seq_len(seq), row_stride(cache.stride[0]), position_stride(cache.stride[1]) {}

  template <class Indices>
  int64_t operator()(int64_t token, const Indices& indices) const {
    const int64_t batch = token / seq_len;
    return batch * row_stride + (indices[batch] + token % seq_len) * position_stride;
  }
};

// cache[slot / block_size][slot % block_size] with slot = indices[token]
struct PagedAddress {
  int64_t block_size;
  int64_t block_stride;
  int64_t entry_stride;

  PagedAddress(const TensorSpec& cache, int64_t /*seq_len*/)
      : block_size(cache.shape[1]), block_stride(cache.stride[0]), entry_stride(cache.stride[1]) {}

  template <class Indices>
  int64_t operator()(int64_t token, const Indices& indices) const {
    const int64_t slot = indices[token];
    if (slot < 0) return kPadding;
    return slot / block_size * block_stride + slot % block_size * entry_stride;
  }
};

}  // namespace ropekv::internal

#endif  // ROPEKV_PLAN_CACHE_ADDRESS_H_
