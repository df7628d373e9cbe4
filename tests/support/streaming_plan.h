// SPDX-License-Identifier: Apache-2.0
// Which kernel a call gets: the one place where tests look at what a plan has decided.
#ifndef ROPEKV_TESTS_SUPPORT_STREAMING_PLAN_H_
#define ROPEKV_TESTS_SUPPORT_STREAMING_PLAN_H_

#include <cstdint>
#include <limits>

#include "plan/plan.h"
#include "run/weights.h"

namespace ropekv::testing {

// The kernel that Run hands this call to.
inline internal::Kernel KernelOf(const Plan& plan, const Args& args) {
  return internal::ChooseKernel(plan.data(), args);
}

// Whether heads go through dense buffers.
inline bool IsPacked(const Plan& plan) { return plan.data().packed; }

// What a plan with bound weights has instead of the scales and offsets of k: part 0 is q.
inline internal::ScaleTables KeyTablesOf(const Plan& bound) {
  return bound.data().weights->tables[1];
}

// MakePlan, but streaming if it can, or not at all: by itself only a plan of very many tokens
// streams.
inline Result<Plan> MakeStreamingPlan(const Spec& spec, bool streaming) {
  return internal::MakePlan(spec, streaming ? 0 : std::numeric_limits<int64_t>::max());
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_STREAMING_PLAN_H_
