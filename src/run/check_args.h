// SPDX-License-Identifier: Apache-2.0
// Every rule about a call that needs its data, for Run and RunReference alike.
#ifndef ROPEKV_RUN_CHECK_ARGS_H_
#define ROPEKV_RUN_CHECK_ARGS_H_

#include <cstdint>

#include "ropekv/ropekv.h"

namespace ropekv::internal {

struct TokenRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// On success `range` is the chosen tokens.
Status CheckCall(const PlanData& plan, const Args& args, const RunOptions& options,
                 TokenRange& range);

// The rules about pointers, for the tensors of BindWeights alone.
Status CheckWeights(const PlanData& plan, const Args& args);

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_CHECK_ARGS_H_
