// SPDX-License-Identifier: Apache-2.0
// What the other tests draw at random is legal, and has every feature beside every other.
#include "support/sampler.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <set>
#include <string>

#include "support/features.h"
#include "support/problem.h"

namespace ropekv::testing {
namespace {

class SamplerTest : public ::testing::TestWithParam<Variant> {};

// Of one another's way: a cache has one dtype, and scales are of i8 caches.
bool Exclude(const std::string& a, const std::string& b) {
  static const std::set<std::string> kCaches = {"f16 caches", "bf16 caches", "f32 caches"};
  static const std::set<std::string> kScales = {"a scale for a head", "a scale for all"};
  return (kCaches.count(a) && (kCaches.count(b) || kScales.count(b))) ||
         (kScales.count(a) && kCaches.count(b));
}

TEST_P(SamplerTest, DrawsEveryPairOfFeatures) {
  constexpr size_t kCount = std::size(kFeatures);
  int64_t together[kCount][kCount] = {};
  Rng rng(1);
  for (int i = 0; i < 3000; ++i) {
    const Spec spec = SampleSpec(rng, GetParam());
    const Result<Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    for (size_t a = 0; a < kCount; ++a) {
      for (size_t b = 0; b < kCount; ++b) {
        together[a][b] += kFeatures[a].in(spec) && kFeatures[b].in(spec);
      }
    }
  }
  for (size_t a = 0; a < kCount; ++a) {
    for (size_t b = 0; b < kCount; ++b) {
      const char *first = kFeatures[a].name, *second = kFeatures[b].name;
      const bool possible = a == b || !Exclude(first, second);
      EXPECT_EQ(together[a][b] > 9, possible)
          << first << " and " << second << ": " << together[a][b];
    }
  }
}

TEST_P(SamplerTest, FillsLegalIndicesAndPositions) {
  Rng rng(2);
  int64_t repeated = 0, padded = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const Spec spec = SampleSpec(rng, GetParam());
    const Plan plan = MakePlan(spec).value();
    const Problem problem(spec, Flavour::kPlain, i);
    const Status status = CheckArgs(plan, problem.actual());
    ASSERT_TRUE(status.ok()) << status.message();
    // Of integers, whatever their dtype, that lie in a row-major tensor.
    const auto read = [](const TensorSpec& tensor, const void* data, int64_t at) {
      return tensor.dtype == DType::kI64 ? static_cast<const int64_t*>(data)[at]
                                         : int64_t{static_cast<const int32_t*>(data)[at]};
    };
    std::set<int64_t> rows;
    if (spec.positions.present()) {
      ForEachElement(spec.positions, [&](int64_t at) {
        repeated += !rows.insert(read(spec.positions, problem.actual().positions, at)).second;
      });
    }
    ForEachElement(spec.indices, [&](int64_t at) {
      padded += read(spec.indices, problem.actual().indices, at) < 0;
    });
  }
  EXPECT_GT(repeated, 100);
  EXPECT_GT(padded, 50);
}

TEST_P(SamplerTest, DrawsOnlyWhatADeviceHasIfAsked) {
  Rng rng(3);
  for (int i = 0; i < 300; ++i) {
    const Spec spec = SampleSpec(rng, GetParam(), {.device_only = true});
    for (const Feature& feature : kFeatures) {
      // Variants of f32 are none of a device's.
      const bool of_variant = GetParam().output == DType::kF32 && feature.in_all_f32;
      EXPECT_EQ(feature.in(spec), of_variant) << feature.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SamplerTest, ::testing::ValuesIn(AllVariants()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace ropekv::testing
