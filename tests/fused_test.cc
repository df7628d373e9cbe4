// SPDX-License-Identifier: Apache-2.0
// Every variant on every usable target against the reference, byte for byte.
#include <gtest/gtest.h>

#include "support/problem.h"
#include "support/sampler.h"

namespace ropekv::testing {
namespace {

constexpr int kCasesPerFlavour = 24;  // 6 variants * 3 or more targets * 4 flavours * 24 > 1700 cases

class FusedTest : public ::testing::TestWithParam<std::tuple<Variant, Target>> {};

TEST_P(FusedTest, EqualsReference) {
  const auto& [variant, target] = GetParam();
  Coverage coverage;
  int cases = 0;
  for (const Flavour flavour : kFlavours) {
    for (int i = 0; i < kCasesPerFlavour; ++i) {
      const uint64_t seed = static_cast<uint64_t>(flavour) * 1000 + static_cast<uint64_t>(i);
      Rng rng(seed);
      Spec spec = SampleSpec(rng, variant);
      spec.target = target;
      SCOPED_TRACE(::testing::Message() << Name(flavour) << " seed " << seed);
      const Result<Plan> plan = MakePlan(spec);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      ASSERT_EQ(plan->target(), target);
      Problem problem(spec, flavour, seed, rng.Chance(0.5));
      RunOptions options;
      options.num_threads = rng.Pick({1, 1, 2, 3, 8});
      ASSERT_EQ(RunAndCompare(problem, *plan, options, &coverage), "");
      ++cases;
    }
  }
  EXPECT_EQ(cases, kCasesPerFlavour * static_cast<int>(std::size(kFlavours)));
  EXPECT_GT(coverage.changed_bytes, 100000);
  EXPECT_LT(coverage.changed_bytes, coverage.bytes);
  EXPECT_GT(coverage.nan, 100);
  EXPECT_GT(coverage.inf, 100);
  EXPECT_GT(coverage.subnormal, 100);
  EXPECT_GT(coverage.lowest, 100);
  EXPECT_GT(coverage.highest, 100);
}

INSTANTIATE_TEST_SUITE_P(
    All, FusedTest,
    ::testing::Combine(::testing::ValuesIn(AllVariants()),
                       ::testing::ValuesIn(UsableTargets().begin(), UsableTargets().end())),
    [](const auto& param) {
      return std::string(std::get<0>(param.param).name) + "_" + Name(std::get<1>(param.param));
    });

// Thousands of tokens, several threads, real head shapes.
TEST(FusedLarge, EqualsReference) {
  for (const Variant& variant : AllVariants()) {
    Rng rng(7);
    Spec spec = SampleSpec(rng, variant, {.max_tokens = 3000, .strided = false});
    SCOPED_TRACE(variant.name);
    const Result<Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    ASSERT_GT(plan->num_tokens(), 1000);
    Problem problem(spec, Flavour::kPlain, 7);
    Coverage coverage;
    for (const int threads : {0, 1, 2, 5}) {
      ASSERT_EQ(RunAndCompare(problem, *plan, {.num_threads = threads}, &coverage), "");
    }
    EXPECT_GT(coverage.changed_bytes, 1000000);
  }
}

}  // namespace
}  // namespace ropekv::testing
