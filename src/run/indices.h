// SPDX-License-Identifier: Apache-2.0
// Reads `indices` and `positions`: i32 or i64, in one or two dimensions.
#ifndef ROPEKV_RUN_INDICES_H_
#define ROPEKV_RUN_INDICES_H_

#include <cstdint>
#include <utility>

#include "ropekv/types.h"

namespace ropekv::internal {

// Entry i of such a tensor, in row-major order. T is its dtype's.
template <class T>
struct Indices {
  using Value = T;

  const T* data;
  int64_t stride;
  // Of two dimensions whose entries lie at no constant distance: the extent of the inner one, and
  // the stride of the outer. 0 otherwise.
  int64_t inner = 0;
  int64_t outer_stride = 0;

  T operator[](int64_t i) const {
    return inner == 0 ? data[i * stride] : data[i / inner * outer_stride + i % inner * stride];
  }
  // Whether entries lie side by side.
  bool dense() const { return inner == 0 && stride == 1; }
};

// Returns what(Indices<T>) for the dtype of the tensor.
template <class What>
auto WithIndices(const TensorSpec& tensor, const void* data, const What& what) {
  const auto typed = [&](auto entry) {
    using T = decltype(entry);
    const auto* at = static_cast<const T*>(data);
    const auto& [outer, inner] = std::pair(tensor.stride[0], tensor.stride[1]);
    if (tensor.rank == 1 || tensor.shape[1] == 1) return what(Indices<T>{at, outer});
    if (tensor.shape[0] == 1 || outer == tensor.shape[1] * inner) {
      return what(Indices<T>{at, inner});
    }
    return what(Indices<T>{at, inner, tensor.shape[1], outer});
  };
  return tensor.dtype == DType::kI64 ? typed(int64_t()) : typed(int32_t());
}

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_INDICES_H_
