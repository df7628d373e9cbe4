// SPDX-License-Identifier: Apache-2.0
// The descriptors behind the opaque types of acl_meta.h.
#ifndef ROPEKV_ACLNN_META_H_
#define ROPEKV_ACLNN_META_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "aclnn/acl_meta.h"

struct aclTensor {
  aclDataType dtype;
  aclFormat format;
  int64_t offset;  // of the view in the storage, in elements
  void* data;      // of the storage

  std::span<const int64_t> view_dims() const { return {numbers.get(), view_rank}; }
  std::span<const int64_t> strides() const { return {numbers.get() + view_rank, view_rank}; }
  std::span<const int64_t> storage_dims() const {
    return {numbers.get() + 2 * view_rank, storage_rank};
  }

  // The three arrays above, one after the other: programs make sixteen tensors a call.
  std::unique_ptr<int64_t[]> numbers;
  uint64_t view_rank;
  uint64_t storage_rank;
};

struct aclScalar {
  aclDataType dtype;
  unsigned char value[16];
};

struct aclIntArray {
  std::vector<int64_t> values;
};

struct aclFloatArray {
  std::vector<float> values;
};

struct aclBoolArray {
  std::vector<bool> values;
};

struct aclTensorList {
  std::vector<const aclTensor*> elements;  // owned, once the list is destroyed
};

struct aclScalarList {
  std::vector<const aclScalar*> elements;
};

namespace ropekv::acl {

// The address of the first element of the tensor's view if its storage began at `storage`.
inline void* ViewAddress(const aclTensor& tensor, void* storage) {
  if (!storage) return nullptr;
  const auto bytes = static_cast<uint64_t>(tensor.offset) * aclDataTypeSize(tensor.dtype);
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(storage) + bytes);
}

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_META_H_
