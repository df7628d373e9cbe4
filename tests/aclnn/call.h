// SPDX-License-Identifier: Apache-2.0
// One call of the operator through the C interface, described by a native Spec and Args.
#ifndef ROPEKV_TESTS_ACLNN_CALL_H_
#define ROPEKV_TESTS_ACLNN_CALL_H_

#include <array>
#include <memory>
#include <span>
#include <string>

#include "acl/acl.h"
#include "aclnnop/aclnn_dequant_rope_quant_kvcache.h"
#include "ropekv/ropekv.h"

namespace ropekv::testing {

// The operator's tensors; the native interface has more.
inline constexpr auto kOperatorFields = std::span(kTensorFields).first<16>();

// DenseSpec with the numerics of the interface, unless ROPEKV_NUMERICS says otherwise.
inline Spec AscendSpec(const Shape& shape) {
  Spec spec = DenseSpec(shape);
  spec.numerics = Numerics::kAscend;
  return spec;
}

struct DestroyTensor {
  void operator()(const aclTensor* tensor) const { aclDestroyTensor(tensor); }
};
using TensorPtr = std::unique_ptr<aclTensor, DestroyTensor>;

aclDataType ToAcl(DType dtype);

// A descriptor of the tensor at `address`; the storage is said to begin `offset` elements before
// it.
TensorPtr MakeTensor(const TensorSpec& spec, const void* address, int64_t offset = 0);

// The arguments of the first phase. Every member may be changed before Prepare.
struct AclCall {
  AclCall(const Spec& spec, const Args& args);

  aclnnStatus Prepare();
  aclnnStatus Launch(aclrtStream stream);
  // Both phases and a synchronise.
  aclnnStatus Run(aclrtStream stream);

  aclTensor* tensor(TensorId id) const { return tensors[static_cast<size_t>(id)].get(); }
  void Remove(TensorId id) { tensors[static_cast<size_t>(id)] = nullptr; }
  void Replace(TensorId id, const TensorSpec& spec, const void* address) {
    tensors[static_cast<size_t>(id)] = MakeTensor(spec, address);
  }

  std::array<TensorPtr, kOperatorFields.size()> tensors;  // k and v are empty ones unless kv_output
  std::unique_ptr<aclIntArray, aclnnStatus (*)(const aclIntArray*)> size_splits;
  std::string cache_mode;
  char* quant_mode = nullptr;
  char* layout = nullptr;
  bool kv_output;
  uint64_t workspace_size = 1;
  aclOpExecutor* executor = nullptr;
};

// aclGetRecentErrMsg, "" for null.
std::string TakeMessage();

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_ACLNN_CALL_H_
