// SPDX-License-Identifier: Apache-2.0
// Every variant on every usable target against the reference, byte for byte.
#include <gtest/gtest.h>

#include <iterator>
#include <tuple>

#include "support/every_kernel.h"
#include "support/features.h"
#include "support/problem.h"
#include "support/sampler.h"
#include "support/share.h"
#include "support/simple_case.h"
#include "support/streaming_plan.h"

namespace ropekv::testing {
namespace {

constexpr int kCasesPerFlavour = 40;  // for each variant, each target, each of 4 flavours

class FusedTest : public ::testing::TestWithParam<std::tuple<Variant, Target>> {};

TEST_P(FusedTest, EqualsReference) {
  const auto& [variant, target] = GetParam();
  Coverage total;
  FeatureCounts compared;
  for (const Flavour flavour : kFlavours) {
    Coverage coverage;
    for (int i = 0; i < kCasesPerFlavour; ++i) {
      const uint64_t seed = static_cast<uint64_t>(flavour) * 1000 + static_cast<uint64_t>(i);
      Rng rng(seed);
      Spec spec = SampleSpec(rng, variant, {.max_tokens = Share(40)});
      spec.target = target;
      SCOPED_TRACE(::testing::Message() << Name(flavour) << " seed " << seed);
      const Result<Plan> plan = MakePlan(spec);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      ASSERT_EQ(plan->target(), target);
      Problem problem(spec, flavour, seed, rng.Chance(0.5));
      RunOptions options;
      options.num_threads = rng.Pick({1, 1, 2, 3, 8});
      const int64_t before = coverage.changed_bytes;
      ASSERT_EQ(RunAndCompare(problem, *plan, options, &coverage), "");
      if (coverage.changed_bytes > before) compared.Add(spec);
    }
    EXPECT_GT(coverage.changed_bytes, Share(100000)) << Name(flavour);
    EXPECT_LT(coverage.changed_bytes, coverage.bytes) << Name(flavour);
    total += coverage;
  }
  EXPECT_GT(total.nan, 100);
  EXPECT_GT(total.inf, 100);
  EXPECT_GT(total.subnormal, 100);
  EXPECT_GT(total.lowest, 100);
  EXPECT_GT(total.highest, 100);
  EXPECT_EQ(compared.RarerThan(6), "");
}

// Those that do channels that pass with those that are rotated, of all that are drawn: in the
// caches, beyond them, and with bound weights.
TEST_P(FusedTest, WholeHeadsEqualReference) {
  constexpr int kCases = 8;  // of 64 rotated channels, which are unrolled, and of 32
  const auto& [variant, target] = GetParam();
  Coverage coverage;
  int cases = 0;
  for (const Flavour flavour : kFlavours) {
    Rng rng(100 + static_cast<uint64_t>(flavour));
    int left[] = {kCases, kCases};
    for (uint64_t i = 0; i < 3000 && left[0] + left[1] > 0; ++i) {
      Spec spec = SampleSpec(rng, variant, {.max_tokens = Share(40), .strided = false});
      spec.target = target;
      Plan plan = MakeStreamingPlan(spec, i % 3 == 0).value();
      const internal::Kernel& kernel = KernelOf(plan, {});
      if (plan.num_tokens() == 0 || !kernel.whole_heads) continue;
      int& of_this_kind = left[kernel.unrolled_pairs == 0];
      if (of_this_kind == 0) continue;
      --of_this_kind;
      Problem problem(spec, flavour, i);
      if (i % 2 == 0) plan = BindWeights(plan, problem.actual()).value();
      ASSERT_EQ(RunAndCompare(problem, plan, {.num_threads = 1}, &coverage), "")
          << Name(flavour) << " case " << i;
      ++cases;
    }
  }
  const bool there_are_any = Is512(target);
  EXPECT_EQ(cases, there_are_any ? 2 * kCases * static_cast<int>(std::size(kFlavours)) : 0);
  EXPECT_EQ(coverage.changed_bytes > Share(100000), there_are_any);
}

// The same for a call beyond the caches: heads of whole lines.
bool Streams(const Spec& spec) {
  const int64_t head_dim = spec.k_cache.shape[3];
  const int64_t rotary_dim = spec.rotary_dim == 0 ? head_dim : spec.rotary_dim;
  return CanStream(spec.target) && head_dim % 64 == 0 && rotary_dim % 64 == 0;
}

TEST_P(FusedTest, StreamingEqualsReference) {
  const auto& [variant, target] = GetParam();
  Coverage coverage;
  int cases = 0, streamed = 0;
  for (const Flavour flavour : kFlavours) {
    Rng rng(static_cast<uint64_t>(flavour));
    for (int i = 0; i < 40; ++i) {
      Spec spec = SampleSpec(rng, variant, {.max_tokens = Share(100), .strided = false});
      spec.target = target;
      const Plan plan = MakeStreamingPlan(spec, true).value();
      if (plan.num_tokens() == 0) continue;
      Problem problem(spec, flavour, static_cast<uint64_t>(i));
      ASSERT_EQ(KernelOf(plan, problem.actual()).streams, Streams(spec)) << i;
      streamed += Streams(spec);
      ASSERT_EQ(RunAndCompare(problem, plan, {.num_threads = 1}, &coverage), "")
          << Name(flavour) << " case " << i;
      ++cases;
    }
  }
  EXPECT_GT(cases, 100);
  EXPECT_EQ(streamed > 15, CanStream(target)) << streamed;
  EXPECT_GT(coverage.changed_bytes, Share(100000));
  EXPECT_GT(coverage.nan, 100);
  EXPECT_GT(coverage.subnormal, 100);
}

// More heads than a call prepares scales for at a time. A round of k and v together would need more
// stack than a call may use: with offsets, and without. With bound weights all are one round, of
// more heads than the kernels have bits for those that are done again.
TEST_P(FusedTest, ManyKvHeadsEqualReference) {
  constexpr int64_t kKvHeads = 70, kStackBytes = 32 << 10;
  struct Case {
    int64_t rotary_dim;
    bool offset_k, offset_v;
  };
  const auto& [variant, target] = GetParam();
  Coverage total;
  for (const Case& c : {Case{128, false, false}, Case{128, false, true}, Case{128, true, false},
                        Case{128, true, true}, Case{64, false, false}, Case{64, true, true}}) {
    Spec spec = DenseSpec({.batch = Share(11, 3),
                           .num_q_heads = 1,
                           .num_kv_heads = kKvHeads,
                           .head_dim = 128,
                           .x_dtype = variant.source,
                           .out_dtype = variant.output,
                           .cache_layout = CacheLayout::kPaged,
                           .cache_shape = {3, 4},
                           .rotary_dim = c.rotary_dim,
                           .kv_output = c.offset_k != c.offset_v});
    if (c.offset_k) spec.offset_k = spec.scale_k;
    if (c.offset_v) spec.offset_v = spec.scale_v;
    spec.numerics = variant.numerics;
    spec.target = target;
    for (const bool streaming : {false, true}) {
      if (streaming && !CanStream(target)) continue;  // the same kernel again
      const Plan plan = MakeStreamingPlan(spec, streaming).value();
      for (const Flavour flavour : kFlavours) {
        Problem problem(spec, flavour, 3);
        if (c.offset_k && c.offset_v) {
          const Plan bound = BindWeights(plan, problem.actual()).value();
          ASSERT_EQ(RunAndCompare(problem, bound, {.num_threads = 1}), "") << Name(flavour);
        }
        const internal::Kernel& kernel = KernelOf(plan, problem.actual());
        if (!kernel.exact && c.rotary_dim == 128) {
          // Of k alone, and so of v.
          ASSERT_GT(kKvHeads * kernel.TableSize(plan.data().parts[1]) * int64_t{sizeof(float)},
                    kStackBytes);
        }
        Coverage coverage;
        ASSERT_EQ(RunAndCompare(problem, plan, {.num_threads = 1}, &coverage), "")
            << Name(flavour) << ", offsets " << c.offset_k << c.offset_v << ", rotary_dim "
            << c.rotary_dim << (streaming ? ", streaming" : "");
        ASSERT_GT(coverage.changed_bytes, Share(100000));
        total += coverage;
      }
    }
  }
  EXPECT_GT(total.nan, 100);
  EXPECT_GT(total.subnormal, 100);
}

INSTANTIATE_TEST_SUITE_P(All, FusedTest, EveryKernel(), KernelName);

// One dimension of one tensor at a time has another stride, everything else being row-major: who
// forgets that tensor when choosing a kernel or a way to walk the tokens is found out.
TEST(FusedStrides, EachDimensionOfEachTensorAlone) {
  int cases = 0;
  for (const Spec& dense : {SimpleSpec(CacheLayout::kContiguous), SimpleSpec(CacheLayout::kPaged),
                            TableSpec(CacheLayout::kContiguous), TableSpec(CacheLayout::kPaged)}) {
    for (const TensorField& field : kTensorFields) {
      const int rank = (dense.*field.spec).rank;
      for (int dim = 0; dim < rank; ++dim) {
        for (const int64_t factor : {3, -1, 0}) {
          // Outputs need distinct elements; so do slots.
          if (factor < 1 && (field.output || field.id == TensorId::kIndices)) continue;
          Spec spec = dense;
          TensorSpec& tensor = spec.*field.spec;
          tensor.stride[dim] *= factor;
          for (int outer = 0; factor > 1 && outer < dim; ++outer) tensor.stride[outer] *= factor;
          for (const Target target : UsableTargets()) {
            spec.target = target;
            SCOPED_TRACE(::testing::Message() << field.name << " dimension " << dim << " times "
                                              << factor << " on " << Name(target));
            const Result<Plan> plan = MakePlan(spec);
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            Problem problem(spec, Flavour::kPlain, 1);
            Coverage coverage;
            ASSERT_EQ(RunAndCompare(problem, *plan, {}, &coverage), "");
            ASSERT_GT(coverage.changed_bytes, 0);
          }
          ++cases;
        }
      }
    }
  }
  EXPECT_GT(cases, 300);
}

// Thousands of tokens, several threads, real head shapes.
TEST(FusedLarge, EqualsReference) {
  for (const Variant& variant : AllVariants()) {
    Rng rng(7);
    Spec spec = SampleSpec(rng, variant, {.max_tokens = Share(3000), .strided = false});
    SCOPED_TRACE(variant.name);
    const Result<Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    ASSERT_GT(plan->num_tokens(), Share(1000));
    Problem problem(spec, Flavour::kPlain, 7);
    Coverage coverage;
    for (const int threads : {0, 1, 2, 5}) {
      ASSERT_EQ(RunAndCompare(problem, *plan, {.num_threads = threads}, &coverage), "");
    }
    EXPECT_GT(coverage.changed_bytes, Share(1000000));
  }
}

// A plan large enough for q to be streamed past the caches, with addresses that allow it and with
// addresses that do not.
TEST(FusedLarge, StreamingEqualsReference) {
  constexpr int64_t kTokens = 4000, kHeads = 8, kDim = 128;
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (const int64_t gap : {0, 5}) {
      Spec spec = DenseSpec({.batch = kTokens,
                             .num_q_heads = kHeads,
                             .num_kv_heads = 1,
                             .head_dim = kDim,
                             .x_dtype = dtype,
                             .out_dtype = dtype,
                             .cache_layout = CacheLayout::kPaged,
                             .cache_shape = {kTokens / 100, 100}});
      spec.q.stride[0] += gap;
      const Plan plan = MakePlan(spec).value();
      Problem problem(spec, Flavour::kPlain, 1);
      ASSERT_EQ(KernelOf(plan, problem.actual()).streams, gap == 0 && CanStream(plan.target()));
      EXPECT_EQ(reinterpret_cast<intptr_t>(problem.actual().q) % 64 == 0, gap == 0);
      Coverage coverage;
      for (const int threads : {1, 3}) {
        ASSERT_EQ(RunAndCompare(problem, plan, {.num_threads = threads}, &coverage), "");
      }
      EXPECT_GT(coverage.changed_bytes, 2 * kTokens * kHeads * kDim);
    }
  }
}

}  // namespace
}  // namespace ropekv::testing
