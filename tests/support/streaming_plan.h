// SPDX-License-Identifier: Apache-2.0
// Whether a plan streams its outputs past the caches: the one place where tests look at what
// MakePlan has decided, and change it.
#ifndef ROPEKV_TESTS_SUPPORT_STREAMING_PLAN_H_
#define ROPEKV_TESTS_SUPPORT_STREAMING_PLAN_H_

#include <memory>

#include "plan/plan.h"

namespace ropekv::testing {

inline bool IsStreaming(const Plan& plan) { return plan.data().row.beyond_caches; }

// The same plan, but streaming or not: by itself only a plan of very many tokens streams.
inline Plan WithStreaming(const Plan& plan, bool streaming) {
  auto data = std::make_shared<PlanData>(plan.data());
  data->row.beyond_caches = streaming;
  return Plan(std::move(data));
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_STREAMING_PLAN_H_
