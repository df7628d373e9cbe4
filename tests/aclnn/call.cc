// SPDX-License-Identifier: Apache-2.0
#include "aclnn/call.h"

namespace ropekv::testing {

aclDataType ToAcl(DType dtype) {
  switch (dtype) {
    case DType::kI8: return ACL_INT8;
    case DType::kI32: return ACL_INT32;
    case DType::kF16: return ACL_FLOAT16;
    case DType::kBF16: return ACL_BF16;
    case DType::kF32: return ACL_FLOAT;
    case DType::kI64: return ACL_INT64;
    case DType::kNone: return ACL_DT_UNDEFINED;
  }
  return ACL_DT_UNDEFINED;
}

TensorPtr MakeTensor(const TensorSpec& spec, const void* address, int64_t offset) {
  const uintptr_t base = reinterpret_cast<uintptr_t>(address) -
                         static_cast<uintptr_t>(offset * ElementBytes(spec.dtype));
  const int64_t storage = 1;  // deliberately unrelated to the view
  return TensorPtr(aclCreateTensor(spec.shape.data(), static_cast<uint64_t>(spec.rank),
                                   ToAcl(spec.dtype), spec.stride.data(), offset, ACL_FORMAT_ND,
                                   &storage, 1, reinterpret_cast<void*>(base)));
}

AclCall::AclCall(const Spec& spec, const Args& args)
    : size_splits(aclCreateIntArray(spec.size_splits.data(), 3), aclDestroyIntArray),
      cache_mode(spec.cache_layout == CacheLayout::kPaged ? "page" : "contiguous"),
      kv_output(spec.kv_output) {
  for (const TensorField& field : kOperatorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    const auto index = static_cast<size_t>(field.id);
    // Different offsets, so that a forgotten one shows.
    const auto offset = static_cast<int64_t>(index % 3);
    if (tensor.present()) tensors[index] = MakeTensor(tensor, field.address(args), offset);
  }
  if (kv_output) return;
  const TensorSpec empty = Dense(spec.cos.dtype, {0});
  Replace(TensorId::kK, empty, nullptr);
  Replace(TensorId::kV, empty, nullptr);
}

aclnnStatus AclCall::Prepare() {
  using enum TensorId;
  return aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
      tensor(kX), tensor(kCos), tensor(kSin), tensor(kKCache), tensor(kVCache), tensor(kIndices),
      tensor(kScaleK), tensor(kScaleV), tensor(kOffsetK), tensor(kOffsetV), tensor(kWeightScale),
      tensor(kActivationScale), tensor(kBias), size_splits.get(), quant_mode, layout, kv_output,
      cache_mode.empty() ? nullptr : cache_mode.data(), tensor(kQ), tensor(kK), tensor(kV),
      &workspace_size, &executor);
}

aclnnStatus AclCall::Launch(aclrtStream stream) {
  return aclnnDequantRopeQuantKvcache(nullptr, workspace_size, executor, stream);
}

aclnnStatus AclCall::Run(aclrtStream stream) {
  if (const aclnnStatus code = Prepare()) return code;
  if (const aclnnStatus code = Launch(stream)) return code;
  return aclrtSynchronizeStream(stream);
}

std::string TakeMessage() {
  const char* message = aclGetRecentErrMsg();
  return message ? message : "";
}

}  // namespace ropekv::testing
