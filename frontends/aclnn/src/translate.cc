// SPDX-License-Identifier: Apache-2.0
#include "translate.h"

#include <algorithm>

#include "memory.h"

namespace ropekv::acl {

DType ToDType(aclDataType dtype) {
  switch (dtype) {
    case ACL_INT8: return DType::kI8;
    case ACL_INT32: return DType::kI32;
    case ACL_FLOAT16: return DType::kF16;
    case ACL_BF16: return DType::kBF16;
    case ACL_FLOAT: return DType::kF32;
    default: return DType::kNone;
  }
}

bool IsPlain(aclFormat format) {
  switch (format) {
    case ACL_FORMAT_ND:
    case ACL_FORMAT_NC:
    case ACL_FORMAT_NCL:
    case ACL_FORMAT_NCHW:
    case ACL_FORMAT_NHWC:
    case ACL_FORMAT_HWCN:
    case ACL_FORMAT_NCDHW:
    case ACL_FORMAT_NDHWC: return true;
    default: return false;
  }
}

TensorSpec ToSpec(const Tensor& tensor) {
  TensorSpec spec;
  spec.dtype = ToDType(tensor.dtype);
  spec.rank = static_cast<int>(tensor.view_rank);
  const size_t rank = std::min<size_t>(tensor.view_rank, TensorSpec::kMaxRank);
  std::copy_n(tensor.view_dims().begin(), rank, spec.shape.begin());
  std::copy_n(tensor.strides().begin(), rank, spec.stride.begin());
  return spec;
}

int64_t NumElements(const Tensor& tensor) {
  uint64_t count = 1;
  for (const int64_t extent : tensor.view_dims()) count *= static_cast<uint64_t>(extent);
  return static_cast<int64_t>(count);
}

bool HasRoom(const Tensor& tensor, int64_t count) {
  const void* address = ViewAddress(tensor, tensor.data);
  const auto block = MemoryTable::Get().Find(address);
  if (count <= 0 || !block || block->kind != MemoryKind::kDevice) return false;
  const size_t room = block->begin + block->mapped_bytes - reinterpret_cast<uintptr_t>(address);
  return static_cast<uint64_t>(count) <= room / aclDataTypeSize(tensor.dtype);
}

TensorSpec Flat(const Tensor& tensor) {
  TensorSpec flat;
  flat.dtype = ToDType(tensor.dtype);
  flat.rank = 1;
  flat.shape[0] = 1;
  flat.stride[0] = 1;
  for (size_t i = tensor.view_rank; i-- > 0;) {
    const int64_t extent = tensor.view_dims()[i], stride = tensor.strides()[i];
    if (extent == 1) continue;
    if (flat.shape[0] == 1) flat.stride[0] = stride;
    int64_t fitting_stride = 0;
    if (__builtin_mul_overflow(flat.shape[0], flat.stride[0], &fitting_stride) ||
        stride != fitting_stride || __builtin_mul_overflow(flat.shape[0], extent, &flat.shape[0])) {
      return ToSpec(tensor);
    }
  }
  return flat;
}

}  // namespace ropekv::acl
