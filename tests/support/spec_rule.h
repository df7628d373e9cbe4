// SPDX-License-Identifier: Apache-2.0
// A rule about a Spec, and a way to break it.
#ifndef ROPEKV_TESTS_SUPPORT_SPEC_RULE_H_
#define ROPEKV_TESTS_SUPPORT_SPEC_RULE_H_

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "support/simple_case.h"

namespace ropekv::testing {

struct Rule {
  const char* name;
  CacheLayout layout;
  std::function<void(Spec&)> spoil;
  StatusCode code;
  const char* message;  // the whole of it
};

inline std::string NameOfRule(const ::testing::TestParamInfo<Rule>& info) {
  return info.param.name;
}

// The simple call is legal, and is not once it is spoilt.
inline void ExpectEnforced(const Rule& rule) {
  Spec spec = SimpleSpec(rule.layout);
  ASSERT_TRUE(MakePlan(spec).ok());
  rule.spoil(spec);
  const Result<Plan> plan = MakePlan(spec);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), rule.code);
  EXPECT_EQ(plan.status().message(), rule.message);
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_SPEC_RULE_H_
