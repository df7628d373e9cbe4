// SPDX-License-Identifier: Apache-2.0
// Tests of every variant on every target that this machine can run.
#ifndef ROPEKV_TESTS_SUPPORT_EVERY_KERNEL_H_
#define ROPEKV_TESTS_SUPPORT_EVERY_KERNEL_H_

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "support/sampler.h"

namespace ropekv::testing {

using KernelParam = std::tuple<Variant, Target>;

inline auto EveryKernel() {
  return ::testing::Combine(::testing::ValuesIn(AllVariants()),
                            ::testing::ValuesIn(UsableTargets().begin(), UsableTargets().end()));
}

inline std::string KernelName(const ::testing::TestParamInfo<KernelParam>& info) {
  return std::string(std::get<0>(info.param).name) + "_" + Name(std::get<1>(info.param));
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_EVERY_KERNEL_H_
