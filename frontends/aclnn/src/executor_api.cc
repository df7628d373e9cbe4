// SPDX-License-Identifier: Apache-2.0
// Repeatable executors and the refresh of their addresses.
#include "bounds.h"
#include "env.h"
#include "error.h"
#include "executor.h"
#include "meta.h"

namespace ropekv::acl {
namespace {

// Which parameters an index counts.
enum class Slots { kInputs, kOutputs, kAll };

constexpr uintptr_t kDeviceAlignment = 32;

int FindExecutor(aclOpExecutor* handle, std::shared_ptr<Executor>& executor) {
  if (!handle) return Fail(kErrInnerNullptr, "executor is null");
  executor = ExecutorTable::Get().Find(handle);
  if (executor) return ACL_SUCCESS;
  return Fail(kErrParamInvalid, "%p is not an executor, or has been executed or destroyed",
              static_cast<void*>(handle));
}

int SetTensorAddress(aclOpExecutor* handle, Slots slots, size_t index,
                     const aclTensor* tensor_handle, void* address) {
  std::shared_ptr<Tensor> tensor;
  if (const int code =
          FindDescriptor<TensorTable>(tensor_handle, "tensor", tensor, kErrInnerNullptr)) {
    return code;
  }
  tensor->data = address;  // even if the executor turns out to be unusable
  std::shared_ptr<Executor> executor;
  if (const int code = FindExecutor(handle, executor)) return code;

  const OperatorInfo& op = executor->op;
  const size_t num_inputs = slots == Slots::kOutputs ? 0 : op.inputs.size();
  const size_t num_outputs = slots == Slots::kInputs ? 0 : op.outputs.size();
  if (index >= num_inputs + num_outputs) {
    return Fail(kErrParamInvalid, "index %zu; %s has %zu such parameters", index, op.name,
                num_inputs + num_outputs);
  }
  const TensorId id = index < num_inputs ? op.inputs[index] : op.outputs[index - num_inputs];
  const char* name = op.tensor_names[static_cast<size_t>(id)];
  if (!executor->given[static_cast<size_t>(id)]) {
    return Fail(kErrParamInvalid, "index %zu: %s was null in the first phase", index, name);
  }
  if (GetEnv().strict && reinterpret_cast<uintptr_t>(address) % kDeviceAlignment != 0) {
    return Fail(kErrParamInvalid, "%s: address %p; the device takes multiples of %zu", name,
                address, size_t{kDeviceAlignment});
  }
  const TensorSpec& spec = executor->plan.spec().*kTensorFields[static_cast<size_t>(id)].spec;
  if (const int code = CheckBounds(name, spec, *tensor, address, kErrParamInvalid)) return code;
  SetAddress(executor->args, id, ViewAddress(*tensor, address));
  return ACL_SUCCESS;
}

int SetListAddress(aclOpExecutor* handle, Slots slots, size_t index, size_t relative_index,
                   const aclTensorList* list, void* address) {
  TensorListTable::Pointer tensors;
  if (const int code =
          FindDescriptor<TensorListTable>(list, "tensors", tensors, kErrInnerNullptr)) {
    return code;
  }
  // No operator here has a list parameter, and a plain one is a list of one.
  if (tensors->empty() || (handle && relative_index != 0)) {
    return Fail(kErrParamInvalid, "relativeIndex %zu in a list of %zu; the parameter has 1 tensor",
                relative_index, tensors->size());
  }
  return SetTensorAddress(handle, slots, index, tensors->front(), address);
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclnnStatus aclSetAclOpExecutorRepeatable(aclOpExecutor* executor) {
  return AclnnCall(__func__, [&]() -> aclnnStatus {
    std::shared_ptr<Executor> found;
    if (const int code = FindExecutor(executor, found)) return code;
    found->repeatable = true;
    return ACL_SUCCESS;
  });
}

aclnnStatus aclDestroyAclOpExecutor(aclOpExecutor* executor) {
  return AclnnCall(__func__, [&]() -> aclnnStatus {
    std::shared_ptr<Executor> found;
    if (const int code = FindExecutor(executor, found)) return code;
    if (!found->repeatable) {
      return Fail(kErrParamInvalid, "only a repeatable executor is the caller's to destroy");
    }
    ExecutorTable::Get().Remove(executor);
    return ACL_SUCCESS;
  });
}

// Both spellings of each call.
#define ROPEKV_SET_ADDR(prefix, name, slots)                                                  \
  aclnnStatus prefix##Set##name##TensorAddr(aclOpExecutor* executor, const size_t index,      \
                                            aclTensor* tensor, void* addr) {                  \
    return AclnnCall(__func__,                                                                \
                     [&] { return SetTensorAddress(executor, slots, index, tensor, addr); }); \
  }                                                                                           \
  aclnnStatus prefix##SetDynamic##name##TensorAddr(aclOpExecutor* executor, size_t irIndex,   \
                                                   const size_t relativeIndex,                \
                                                   aclTensorList* tensors, void* addr) {      \
    return AclnnCall(__func__, [&] {                                                          \
      return SetListAddress(executor, slots, irIndex, relativeIndex, tensors, addr);          \
    });                                                                                       \
  }

ROPEKV_SET_ADDR(acl, Input, Slots::kInputs)
ROPEKV_SET_ADDR(acl, Output, Slots::kOutputs)
ROPEKV_SET_ADDR(acl, , Slots::kAll)
ROPEKV_SET_ADDR(Acl, Input, Slots::kInputs)
ROPEKV_SET_ADDR(Acl, Output, Slots::kOutputs)
ROPEKV_SET_ADDR(Acl, , Slots::kAll)
#undef ROPEKV_SET_ADDR
