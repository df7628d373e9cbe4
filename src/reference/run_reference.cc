// SPDX-License-Identifier: Apache-2.0
// The reference behind the checks of Run.
#include "plan/failure.h"
#include "reference/reference.h"
#include "run/check_args.h"
#include "run/weights.h"

namespace ropekv {

Status RunReference(const Plan& plan, const Args& args, const RunOptions& options) noexcept {
  try {
    internal::TokenRange range;
    Status status = internal::CheckCall(plan.data(), args, options, range);
    if (status.ok()) {
      reference::Compute(plan.spec(), internal::WithWeights(plan.data(), args), range.begin,
                         range.end);
    }
    return status;
  } catch (...) {
    return internal::StatusOfException();
  }
}

}  // namespace ropekv
