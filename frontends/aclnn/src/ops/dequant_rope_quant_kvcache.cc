// SPDX-License-Identifier: Apache-2.0
// aclnnDequantRopeQuantKvcache: from descriptors to Spec and Args. The order of the checks is the
// device's: null pointers, dtypes and formats, then shapes and attributes.
#include <strings.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "aclnnop/aclnn_dequant_rope_quant_kvcache.h"
#include "bounds.h"
#include "env.h"
#include "error.h"
#include "executor.h"
#include "meta.h"
#include "ops/device_shapes.h"
#include "translate.h"

namespace ropekv::acl {
namespace {

// What the native interface has besides is never given.
constexpr auto kFields =
    std::span(kTensorFields).first<static_cast<size_t>(TensorId::kPositions)>();
using TensorHandles = std::array<const aclTensor*, kFields.size()>;         // by TensorId
using Tensors = std::array<std::shared_ptr<const Tensor>, kFields.size()>;  // null: not given

constexpr TensorId kInputs[] = {
    TensorId::kX,       TensorId::kCos,     TensorId::kSin,         TensorId::kKCache,
    TensorId::kVCache,  TensorId::kIndices, TensorId::kScaleK,      TensorId::kScaleV,
    TensorId::kOffsetK, TensorId::kOffsetV, TensorId::kWeightScale, TensorId::kActivationScale,
    TensorId::kBias};
constexpr TensorId kOutputs[] = {TensorId::kQ, TensorId::kK, TensorId::kV, TensorId::kKCache,
                                 TensorId::kVCache};

constexpr OperatorInfo kOperator = {
    "aclnnDequantRopeQuantKvcache",
    {"x", "cos", "sin", "kCacheRef", "vCacheRef", "indices", "scaleK", "scaleV", "offsetKOptional",
     "offsetVOptional", "weightScaleOptional", "activationScaleOptional", "biasOptional", "qOut",
     "kOut", "vOut"},
    kInputs,
    kOutputs};

const char* NameOf(TensorId id) { return kOperator.tensor_names[static_cast<size_t>(id)]; }

bool IsOptional(TensorId id) { return id >= TensorId::kOffsetK && id <= TensorId::kBias; }

// --- 1. Null pointers.

int CheckNull(const TensorHandles& tensors, const aclIntArray* size_splits,
              const uint64_t* workspace_size, aclOpExecutor* const* executor) {
  for (const TensorField& field : kFields) {
    if (!tensors[static_cast<size_t>(field.id)] && !IsOptional(field.id)) {
      return Fail(kErrParamNullptr, "%s is null", NameOf(field.id));
    }
  }
  const char* missing = !size_splits      ? "sizeSplits"
                        : !workspace_size ? "workspaceSize"
                        : !executor       ? "executor"
                                          : nullptr;
  return missing ? Fail(kErrParamNullptr, "%s is null", missing) : ACL_SUCCESS;
}

int FindTensors(const TensorHandles& handles, Tensors& tensors) {
  for (size_t i = 0; i < handles.size(); ++i) {
    if (!handles[i]) continue;
    std::shared_ptr<Tensor> tensor;
    const char* name = kOperator.tensor_names[i];
    if (const int code = FindDescriptor<TensorTable>(handles[i], name, tensor)) return code;
    tensors[i] = std::move(tensor);
  }
  return ACL_SUCCESS;
}

// --- 2. Is there a kernel for the dtypes and formats?

bool IsLegal(TensorId id, aclDataType dtype, const Tensors& tensors) {
  const aclDataType x = tensors[static_cast<size_t>(TensorId::kX)]->dtype;
  const aclDataType cos = tensors[static_cast<size_t>(TensorId::kCos)]->dtype;
  switch (id) {
    case TensorId::kX: return dtype == ACL_INT32 || dtype == ACL_FLOAT16 || dtype == ACL_BF16;
    case TensorId::kCos:
      return (dtype == ACL_FLOAT16 || dtype == ACL_BF16) && (x == ACL_INT32 || x == dtype);
    case TensorId::kSin:
    case TensorId::kQ:
    case TensorId::kK:
    case TensorId::kV: return dtype == cos;
    case TensorId::kKCache:
    case TensorId::kVCache: return dtype == ACL_INT8;
    case TensorId::kIndices: return dtype == ACL_INT32;
    case TensorId::kBias:
      return dtype == ACL_FLOAT || dtype == ACL_FLOAT16 || dtype == ACL_INT32 || dtype == ACL_BF16;
    default: return dtype == ACL_FLOAT;
  }
}

const char* LegalDTypes(TensorId id) {
  switch (id) {
    case TensorId::kX: return "ACL_INT32, ACL_FLOAT16 or ACL_BF16";
    case TensorId::kCos: return "ACL_FLOAT16 or ACL_BF16, and x's unless x is ACL_INT32";
    case TensorId::kSin:
    case TensorId::kQ:
    case TensorId::kK:
    case TensorId::kV: return "cos's";
    case TensorId::kKCache:
    case TensorId::kVCache: return "ACL_INT8";
    case TensorId::kIndices: return "ACL_INT32";
    case TensorId::kBias: return "ACL_FLOAT, ACL_FLOAT16, ACL_BF16 or ACL_INT32";
    default: return "ACL_FLOAT";
  }
}

int CheckKernel(const Tensors& tensors, bool optional) {
  for (const TensorField& field : kFields) {
    const Tensor* tensor = tensors[static_cast<size_t>(field.id)].get();
    if (!tensor || IsOptional(field.id) != optional) continue;
    const int code = optional ? kErrFindKernel : kErrParamInvalid;
    if (!IsLegal(field.id, tensor->dtype, tensors)) {
      return Fail(code, "%s: dtype %d (aclDataType); expected %s", NameOf(field.id), tensor->dtype,
                  LegalDTypes(field.id));
    }
    if (!IsPlain(tensor->format)) {
      return Fail(code, "%s: format %d (aclFormat); expected ACL_FORMAT_ND (2)", NameOf(field.id),
                  tensor->format);
    }
  }
  return ACL_SUCCESS;
}

// --- 3. Shapes and attributes: mostly MakePlan's.

// The device looks at the data of these but not at their shape. Any with enough data is legal.
TensorSpec FirstOf(const Tensor& tensor, int64_t count) {
  TensorSpec spec = Flat(tensor);
  const bool enough = spec.shape[0] > count || (spec.stride[0] == 1 && HasRoom(tensor, count));
  if (spec.rank == 1 && enough) spec.shape[0] = count;
  return spec;
}

// Only the number of elements matters.
TensorSpec PerChannel(const Tensor& tensor, int64_t kv_heads, int64_t head_dim) {
  const TensorSpec spec = ToSpec(tensor);
  const bool as_it_is = spec.rank == 2 && spec.shape[0] == kv_heads && spec.shape[1] == head_dim;
  return as_it_is ? spec : Flat(tensor);
}

// Outputs are written densely whatever their shape; their size follows from the inputs.
TensorSpec Output(const TensorSpec& x, DType dtype, int64_t heads, int64_t head_dim) {
  if (x.rank == 3) return Dense(dtype, {x.shape[0], x.shape[1], heads, head_dim});
  return Dense(dtype, {x.shape[0], heads, head_dim});
}

bool IsPage(const char* cache_mode) {
  // Five bytes: some programs pass text that does not end in a zero.
  return cache_mode && strncasecmp(cache_mode, "page", 5) == 0;
}

Spec MakeSpec(const Tensors& tensors, const std::vector<int64_t>& size_splits,
              const char* cache_mode, bool kv_output) {
  const auto given = [&](TensorId id) { return tensors[static_cast<size_t>(id)].get(); };
  Spec spec;
  for (const TensorId id : {TensorId::kX, TensorId::kCos, TensorId::kSin, TensorId::kKCache,
                            TensorId::kVCache, TensorId::kIndices}) {
    spec.*kTensorFields[static_cast<size_t>(id)].spec = ToSpec(*given(id));
  }
  const int64_t kv_heads = spec.k_cache.shape[2], head_dim = spec.k_cache.shape[3];
  for (const TensorId id :
       {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV}) {
    if (!given(id)) continue;
    spec.*kTensorFields[static_cast<size_t>(id)].spec = PerChannel(*given(id), kv_heads, head_dim);
  }
  const bool has_seq = spec.x.rank == 3;
  const int64_t hidden = spec.x.shape[has_seq ? 2 : 1];
  const auto tokens = static_cast<int64_t>(static_cast<uint64_t>(spec.x.shape[0]) *
                                           static_cast<uint64_t>(has_seq ? spec.x.shape[1] : 1));
  for (const auto& [id, count] :
       {std::pair(TensorId::kWeightScale, hidden), std::pair(TensorId::kActivationScale, tokens),
        std::pair(TensorId::kBias, hidden)}) {
    if (!given(id) || spec.x.dtype != DType::kI32) continue;  // ignored otherwise
    spec.*kTensorFields[static_cast<size_t>(id)].spec = FirstOf(*given(id), count);
  }
  std::copy_n(size_splits.begin(), 3, spec.size_splits.begin());
  // What is wrong with sizeSplits is for MakePlan to say.
  const int64_t q_heads = head_dim > 0 ? std::max<int64_t>(spec.size_splits[0] / head_dim, 0) : 0;
  spec.q = Output(spec.x, spec.cos.dtype, q_heads, head_dim);
  if (kv_output) spec.k = spec.v = Output(spec.x, spec.cos.dtype, kv_heads, head_dim);
  spec.cache_layout = IsPage(cache_mode) ? CacheLayout::kPaged : CacheLayout::kContiguous;
  spec.numerics = GetEnv().numerics;
  spec.kv_output = kv_output;
  spec.strict_device_limits = GetEnv().strict;
  return spec;
}

int PlanErrorCode(StatusCode code) {
  switch (code) {
    case StatusCode::kNullPointer:  // weightScale, which only an int32 x needs
    case StatusCode::kBadShape:
    case StatusCode::kDeviceLimit: return kErrTiling;
    case StatusCode::kBadDType: return kErrParamInvalid;
    case StatusCode::kBadOption: return kErrFindKernel;
    default: return kErrInner;
  }
}

// Whatever the shape says, the device writes this much.
int CheckOutputSizes(const Spec& spec, const Tensors& tensors) {
  for (const TensorField& field : kFields) {
    const TensorSpec& output = spec.*field.spec;
    if (field.id < TensorId::kQ || !output.present()) continue;
    int64_t needed = 1;
    for (int i = 0; i < output.rank; ++i) needed *= output.shape[i];
    const int64_t found = NumElements(*tensors[static_cast<size_t>(field.id)]);
    if (found >= needed || HasRoom(*tensors[static_cast<size_t>(field.id)], needed)) continue;
    return Fail(kErrTiling, "%s: has %lld elements; %lld are written", NameOf(field.id),
                static_cast<long long>(found), static_cast<long long>(needed));
  }
  return ACL_SUCCESS;
}

// The first phase, after the null checks.
aclnnStatus Prepare(const Tensors& tensors, const std::vector<int64_t>& size_splits,
                    const char* cache_mode, bool kv_output, uint64_t* workspace_size,
                    aclOpExecutor** executor) {
  if (const int code = CheckKernel(tensors, /*optional=*/false)) return code;
  if (const int code = CheckKernel(tensors, /*optional=*/true)) return code;
  if (!GetEnv().error.empty()) return FailWith(kErrInner, GetEnv().error);
  if (size_splits.size() != 3) {
    return Fail(kErrTiling, "sizeSplits: has %zu entries; expected 3", size_splits.size());
  }
  const Spec spec = MakeSpec(tensors, size_splits, cache_mode, kv_output);
  if (const int code = CheckDeviceShapes(kOperator, spec)) return code;
  const Result<Plan> plan = MakePlan(spec);
  if (!plan.ok()) {
    return FailWith(PlanErrorCode(plan.status().code()), Describe(kOperator, plan.status()));
  }
  if (const int code = CheckOutputSizes(spec, tensors)) return code;
  Executor made{.op = kOperator, .plan = *plan, .args = {}};
  for (const TensorField& field : kFields) {
    const Tensor* tensor = tensors[static_cast<size_t>(field.id)].get();
    if (!tensor) continue;
    const TensorSpec& used = spec.*field.spec;
    void* const data = tensor->data;
    if (const int code = CheckBounds(NameOf(field.id), used, *tensor, data, kErrTiling))
      return code;
    made.given[static_cast<size_t>(field.id)] = true;
    SetAddress(made.args, field.id, ViewAddress(*tensor, data));
  }
  *workspace_size = 0;
  *executor = NewExecutor(std::move(made));
  return ACL_SUCCESS;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclnnStatus aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
    const aclTensor* x, const aclTensor* cos, const aclTensor* sin, aclTensor* kCacheRef,
    aclTensor* vCacheRef, const aclTensor* indices, const aclTensor* scaleK,
    const aclTensor* scaleV, const aclTensor* offsetKOptional, const aclTensor* offsetVOptional,
    const aclTensor* weightScaleOptional, const aclTensor* activationScaleOptional,
    const aclTensor* biasOptional, const aclIntArray* sizeSplits, char* /*quantModeOptional*/,
    char* /*layoutOptional*/, bool kvOutput, char* cacheModeOptional, const aclTensor* qOut,
    const aclTensor* kOut, const aclTensor* vOut, uint64_t* workspaceSize,
    aclOpExecutor** executor) {
  return AclnnCall(__func__, [&]() -> aclnnStatus {
    const TensorHandles handles{x,
                                cos,
                                sin,
                                kCacheRef,
                                vCacheRef,
                                indices,
                                scaleK,
                                scaleV,
                                offsetKOptional,
                                offsetVOptional,
                                weightScaleOptional,
                                activationScaleOptional,
                                biasOptional,
                                qOut,
                                kOut,
                                vOut};
    if (const int code = CheckNull(handles, sizeSplits, workspaceSize, executor)) return code;
    Tensors tensors;
    if (const int code = FindTensors(handles, tensors)) return code;
    IntArrayTable::Pointer splits;
    if (const int code = FindDescriptor<IntArrayTable>(sizeSplits, "sizeSplits", splits)) {
      return code;
    }
    return Prepare(tensors, *splits, cacheModeOptional, kvOutput, workspaceSize, executor);
  });
}

aclnnStatus aclnnDequantRopeQuantKvcache(void* workspace, uint64_t workspaceSize,
                                         aclOpExecutor* executor, aclrtStream stream) {
  return AclnnCall(__func__, [&] { return Launch(executor, {workspace, workspaceSize}, stream); });
}
