// SPDX-License-Identifier: Apache-2.0
// What the first phase of an operator leaves for the second. Holds no descriptor of the program's.
#ifndef ROPEKV_ACLNN_EXECUTOR_H_
#define ROPEKV_ACLNN_EXECUTOR_H_

#include <array>
#include <span>
#include <utility>

#include "aclnn/acl_meta.h"
#include "handle_table.h"
#include "ropekv/ropekv.h"

namespace ropekv::acl {

// An operator as the address refresh calls and the messages see it.
struct OperatorInfo {
  const char* name;
  std::array<const char*, kNumTensors> tensor_names;  // by TensorId; null: not of this operator
  std::span<const TensorId> inputs;                   // by index
  std::span<const TensorId> outputs;
};

struct Executor {
  const OperatorInfo& op;
  Plan plan;
  Args args;
  std::array<bool, kNumTensors> given{};  // the parameter was not null in the first phase
  bool small = false;                     // quick enough to run in the caller
  bool repeatable = false;
};

using ExecutorTable = HandleTable<Executor, HandleKind::kExecutor>;

void SetAddress(Args& args, TensorId id, void* address);

aclOpExecutor* NewExecutor(Executor executor);

struct Workspace {
  void* address;
  uint64_t bytes;
};
// The second phase. No operator here needs a workspace, so that none is too small.
aclnnStatus Launch(aclOpExecutor* executor, Workspace workspace, void* stream);

// "scaleK: ..." for a native status, in the operator's names.
std::string Describe(const OperatorInfo& op, const Status& status);

// Seconds after which a kernel counts as hanging; 0: never.
void SetOpTimeLimitSeconds(uint32_t seconds);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_EXECUTOR_H_
