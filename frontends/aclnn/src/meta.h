// SPDX-License-Identifier: Apache-2.0
// The descriptors that the opaque types of acl_meta.h name.
#ifndef ROPEKV_ACLNN_META_H_
#define ROPEKV_ACLNN_META_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "aclnn/acl_meta.h"
#include "error.h"
#include "handle_table.h"

namespace ropekv::acl {

// Does not change but for `data`, which is to be read once in a call: programs may set it, and give
// the handle another tensor, while another thread's call uses it.
struct Tensor {
  aclDataType dtype;
  aclFormat format;
  int64_t offset;           // of the view in the storage, in elements
  std::atomic<void*> data;  // of the storage

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

struct Scalar {
  aclDataType dtype;
  unsigned char value[16];
};

using TensorTable = HandleTable<Tensor, HandleKind::kTensor>;
using ScalarTable = HandleTable<Scalar, HandleKind::kScalar>;
using IntArrayTable = HandleTable<std::vector<int64_t>, HandleKind::kIntArray>;
using FloatArrayTable = HandleTable<std::vector<float>, HandleKind::kFloatArray>;
using BoolArrayTable = HandleTable<std::vector<bool>, HandleKind::kBoolArray>;
// Of handles. A list owns its elements once it is destroyed.
using TensorListTable = HandleTable<std::vector<const aclTensor*>, HandleKind::kTensorList>;
using ScalarListTable = HandleTable<std::vector<const aclScalar*>, HandleKind::kScalarList>;

template <class Table>
int FailAsGone(const char* name, const void* handle) {
  return Fail(kErrParamInvalid, "%s: %p is not an %s, or has been destroyed", name, handle,
              Table::kName);
}

// The descriptor that is passed as the parameter `name`, or a code and a message.
template <class Table>
int FindDescriptor(const void* handle, const char* name, typename Table::Pointer& descriptor,
                   int null_code = kErrParamNullptr) {
  if (!handle) return Fail(null_code, "%s is null", name);
  descriptor = Table::Get().Find(handle);
  return descriptor ? ACL_SUCCESS : FailAsGone<Table>(name, handle);
}

// The body of a destroy function, which accepts null.
template <class Table>
int DestroyDescriptor(const char* function, const void* handle) {
  return AclnnCall(function, [&] {
    if (!handle || Table::Get().Remove(handle)) return ACL_SUCCESS;
    return FailAsGone<Table>("the argument", handle);
  });
}

// The address of the first element of the tensor's view if its storage began at `storage`.
inline void* ViewAddress(const Tensor& tensor, void* storage) {
  if (!storage) return nullptr;
  const auto bytes = static_cast<uint64_t>(tensor.offset) * aclDataTypeSize(tensor.dtype);
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(storage) + bytes);
}

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_META_H_
