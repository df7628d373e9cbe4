// SPDX-License-Identifier: Apache-2.0
// What a call that is refused must look like.
#ifndef ROPEKV_TESTS_SUPPORT_REFUSAL_H_
#define ROPEKV_TESTS_SUPPORT_REFUSAL_H_

#include <gtest/gtest.h>

#include <string>

#include "support/problem.h"

namespace ropekv::testing {

// Run, CheckArgs and RunReference must agree on refusing, and leave everything as it was.
inline void ExpectRefused(Problem& problem, const Args& args, const RunOptions& options,
                          StatusCode code, const std::string& message) {
  const Result<Plan> plan = MakePlan(problem.spec());
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  for (const auto& call : {&ropekv::Run, &RunReference, &CheckArgs}) {
    const Status status = call(*plan, args, options);
    EXPECT_EQ(status.code(), code);
    EXPECT_EQ(status.message(), message);
  }
  EXPECT_EQ(problem.CompareUntouched(), "");
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_REFUSAL_H_
