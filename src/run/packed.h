// SPDX-License-Identifier: Apache-2.0
// For tensors whose channels do not lie side by side, and heads that are very short or very long.
#ifndef ROPEKV_RUN_PACKED_H_
#define ROPEKV_RUN_PACKED_H_

#include "ropekv/ropekv.h"
#include "run/check_args.h"

namespace ropekv::internal {

// Walk, for a plan whose heads are packed: through dense buffers, a block of a head at a time.
// Slow.
void WalkPacked(const PlanData& plan, const Args& args, TokenRange range);

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_PACKED_H_
