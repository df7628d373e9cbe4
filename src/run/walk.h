// SPDX-License-Identifier: Apache-2.0
// Tokens of a checked call, one after another.
#ifndef ROPEKV_RUN_WALK_H_
#define ROPEKV_RUN_WALK_H_

#include "ropekv/ropekv.h"
#include "run/check_args.h"

namespace ropekv::internal {

// Hands them to a kernel, with the addresses of their rows and the tables of their scales. `args`
// has bound weights too.
void Walk(const PlanData& plan, const Args& args, TokenRange range);

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_WALK_H_
