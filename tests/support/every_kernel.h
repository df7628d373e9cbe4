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

// Builds with sanitizers have no unrolled kernels but those of whole heads.
#ifdef ROPEKV_SANITIZED
inline constexpr bool kUnrolls = false;
#else
inline constexpr bool kUnrolls = true;
#endif

// What targets of these names can do, written down a second time.
inline bool Is512(Target target) {
  return target == Target::kAvx512Bf16Dot || target == Target::kAvx512Bf16 ||
         target == Target::kAvx512;
}
inline bool CanStream(Target target) { return Is512(target) || target == Target::kAvx2; }

inline std::string KernelName(const ::testing::TestParamInfo<KernelParam>& info) {
  return std::string(std::get<0>(info.param).name) + "_" + Name(std::get<1>(info.param));
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_EVERY_KERNEL_H_
