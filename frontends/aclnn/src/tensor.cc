// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "meta.h"

namespace ropekv::acl {
namespace {

// What aclCreateTensor and aclInitTensor are given.
struct Description {
  const int64_t* view_dims;
  uint64_t view_rank;
  const int64_t* stride;
  const int64_t* storage_dims;
  uint64_t storage_rank;
};

// More dimensions than any tensor has: a garbage count must not become an allocation.
constexpr uint64_t kMaxRank = 64;

int CheckDescription(const Description& from, int null_code, int invalid_code) {
  const bool no_view = !from.view_dims && from.view_rank > 0;
  if (no_view || (!from.storage_dims && from.storage_rank > 0)) {
    return Fail(null_code, "%s is null", no_view ? "viewDims" : "storageDims");
  }
  if (from.view_rank > kMaxRank || from.storage_rank > kMaxRank) {
    return Fail(invalid_code, "%llu view and %llu storage dimensions; expected at most %llu",
                static_cast<unsigned long long>(from.view_rank),
                static_cast<unsigned long long>(from.storage_rank),
                static_cast<unsigned long long>(kMaxRank));
  }
  return ACL_SUCCESS;
}

std::shared_ptr<Tensor> MakeTensor(const Description& from, aclDataType dtype, aclFormat format,
                                   int64_t offset, void* data) {
  auto numbers = std::make_unique<int64_t[]>(2 * from.view_rank + from.storage_rank);
  std::copy_n(from.view_dims, from.view_rank, numbers.get());
  int64_t* strides = numbers.get() + from.view_rank;
  if (from.stride) {
    std::copy_n(from.stride, from.view_rank, strides);
  } else {
    // Unsigned: extents whose product overflows are for the operator to refuse.
    uint64_t stride = 1;
    for (uint64_t i = from.view_rank; i-- > 0;) {
      strides[i] = static_cast<int64_t>(stride);
      stride *= static_cast<uint64_t>(from.view_dims[i]);
    }
  }
  std::copy_n(from.storage_dims, from.storage_rank, strides + from.view_rank);
  auto tensor = std::make_shared<Tensor>();
  tensor->dtype = dtype;
  tensor->format = format;
  tensor->offset = offset;
  tensor->data = data;
  tensor->numbers = std::move(numbers);
  tensor->view_rank = from.view_rank;
  tensor->storage_rank = from.storage_rank;
  return tensor;
}

// A copy of `values` for the caller to delete[].
int GetArray(const aclTensor* handle, std::span<const int64_t> (Tensor::*values)() const,
             int64_t** array, uint64_t* size) {
  std::shared_ptr<Tensor> tensor;
  if (const int code = FindDescriptor<TensorTable>(handle, "tensor", tensor)) return code;
  if (!array || !size)
    return Fail(kErrParamNullptr, "%s is null", array ? "the size" : "the array");
  const std::span<const int64_t> from = (*tensor.*values)();
  auto* copy = new int64_t[from.size()];
  std::copy(from.begin(), from.end(), copy);
  *array = copy;
  *size = from.size();
  return ACL_SUCCESS;
}

template <class Field, class T>
int GetField(const aclTensor* handle, Field Tensor::*field, T* value) {
  std::shared_ptr<Tensor> tensor;
  if (const int code = FindDescriptor<TensorTable>(handle, "tensor", tensor)) return code;
  if (!value) return Fail(kErrParamNullptr, "the output is null");
  *value = *tensor.*field;
  return ACL_SUCCESS;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclTensor* aclCreateTensor(const int64_t* viewDims, uint64_t viewDimsNum, aclDataType dataType,
                           const int64_t* stride, int64_t offset, aclFormat format,
                           const int64_t* storageDims, uint64_t storageDimsNum, void* tensorData) {
  return CreateCall<aclTensor>(Layer::kAclnn, __func__, [&]() -> aclTensor* {
    const Description from{viewDims, viewDimsNum, stride, storageDims, storageDimsNum};
    if (CheckDescription(from, kErrParamNullptr, kErrParamInvalid)) return nullptr;
    auto tensor = MakeTensor(from, dataType, format, offset, tensorData);
    return static_cast<aclTensor*>(TensorTable::Get().Insert(std::move(tensor)));
  });
}

aclnnStatus aclDestroyTensor(const aclTensor* tensor) {
  return DestroyDescriptor<TensorTable>(__func__, tensor);
}

aclnnStatus aclInitTensor(aclTensor* tensor, const int64_t* viewDims, uint64_t viewDimsNum,
                          aclDataType dataType, const int64_t* stride, int64_t offset,
                          aclFormat format, const int64_t* storageDims, uint64_t storageDimsNum,
                          void* tensorDataAddr) {
  return AclnnCall(__func__, [&]() -> aclnnStatus {
    std::shared_ptr<Tensor> found;
    if (const int code = FindDescriptor<TensorTable>(tensor, "tensor", found)) return code;
    const Description from{viewDims, viewDimsNum, stride, storageDims, storageDimsNum};
    if (const int code = CheckDescription(from, kErrParamNullptr, kErrParamInvalid)) return code;
    void* const data = tensorDataAddr ? tensorDataAddr : found->data.load();
    if (!TensorTable::Get().Replace(tensor, MakeTensor(from, dataType, format, offset, data))) {
      return FailAsGone<TensorTable>("tensor", tensor);
    }
    return ACL_SUCCESS;
  });
}

aclnnStatus aclGetViewShape(const aclTensor* tensor, int64_t** viewDims, uint64_t* viewDimsNum) {
  return AclnnCall(__func__,
                   [&] { return GetArray(tensor, &Tensor::view_dims, viewDims, viewDimsNum); });
}

aclnnStatus aclGetStorageShape(const aclTensor* tensor, int64_t** storageDims,
                               uint64_t* storageDimsNum) {
  return AclnnCall(__func__, [&] {
    return GetArray(tensor, &Tensor::storage_dims, storageDims, storageDimsNum);
  });
}

aclnnStatus aclGetViewStrides(const aclTensor* tensor, int64_t** stridesValue,
                              uint64_t* stridesNum) {
  return AclnnCall(__func__,
                   [&] { return GetArray(tensor, &Tensor::strides, stridesValue, stridesNum); });
}

aclnnStatus aclGetViewOffset(const aclTensor* tensor, int64_t* offset) {
  return AclnnCall(__func__, [&] { return GetField(tensor, &Tensor::offset, offset); });
}

aclnnStatus aclGetFormat(const aclTensor* tensor, aclFormat* format) {
  return AclnnCall(__func__, [&] { return GetField(tensor, &Tensor::format, format); });
}

aclnnStatus aclGetDataType(const aclTensor* tensor, aclDataType* dataType) {
  return AclnnCall(__func__, [&] { return GetField(tensor, &Tensor::dtype, dataType); });
}

aclnnStatus aclGetRawTensorAddr(const aclTensor* tensor, void** addr) {
  return AclnnCall(__func__, [&] { return GetField(tensor, &Tensor::data, addr); });
}

aclnnStatus aclSetRawTensorAddr(aclTensor* tensor, void* addr) {
  return AclnnCall(__func__, [&]() -> aclnnStatus {
    std::shared_ptr<Tensor> found;
    if (const int code = FindDescriptor<TensorTable>(tensor, "tensor", found)) return code;
    if (!addr) return Fail(kErrParamNullptr, "addr is null");
    found->data = addr;
    return ACL_SUCCESS;
  });
}
