// SPDX-License-Identifier: Apache-2.0
// Plans that own their weights: the same bytes as with the weights in each call.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "support/every_kernel.h"
#include "support/problem.h"
#include "support/sampler.h"
#include "support/share.h"
#include "support/simple_case.h"
#include "support/streaming_plan.h"

namespace ropekv::testing {
namespace {

constexpr TensorId kWeights[] = {TensorId::kScaleK,  TensorId::kScaleV,      TensorId::kOffsetK,
                                 TensorId::kOffsetV, TensorId::kWeightScale, TensorId::kBias};

const TensorField& FieldOf(TensorId id) { return kTensorFields[static_cast<size_t>(id)]; }

Args WithWeightsAt(Args args, const void* address) {
  for (const TensorId id : kWeights) args.*FieldOf(id).input = address;
  return args;
}

// Neither aligned nor memory: who checks or reads a weight of the call is found out.
const void* Garbage() { return reinterpret_cast<const void*>(uintptr_t{1}); }

// Runs `bound`, which has the weights of `problem`, and compares with the reference for weights in
// the call: the kernels with and without bound weights, and the reference with them.
std::string CompareBound(Problem& problem, const Plan& plan, const Plan& bound,
                         Coverage* coverage) {
  std::string difference = RunAndCompare(problem, plan, {.num_threads = 1}, coverage);
  if (!difference.empty()) return "unbound: " + difference;
  for (const void* address : {static_cast<const void*>(nullptr), Garbage()}) {
    const Args args = WithWeightsAt(problem.actual(), address);
    problem.ResetActual();
    Status status = ropekv::Run(bound, args, {.num_threads = 1});
    if (status.ok()) status = CheckArgs(bound, args);
    difference = status.ok() ? problem.Compare() : status.message();
    if (!difference.empty()) return "bound: " + difference;
    problem.ResetActual();
    status = RunReference(bound, args);
    difference = status.ok() ? problem.Compare() : status.message();
    if (!difference.empty()) return "reference, bound: " + difference;
  }
  return "";
}

class BoundTest : public ::testing::TestWithParam<std::tuple<Variant, Target>> {
 protected:
  Spec MakeSpec(Shape shape) const {
    const auto& [variant, target] = GetParam();
    shape.x_dtype = variant.source;
    shape.out_dtype = variant.output;
    if (variant.source != DType::kI32) shape.bias_dtype = DType::kNone;
    Spec spec = DenseSpec(shape);
    spec.numerics = variant.numerics;
    spec.target = target;
    return spec;
  }
};

// How weights may lie in memory.
enum class Layout { kRowMajor, kOneForAll, kOneForAHead, kReversed, kPadded, kFlat };

void LayOut(Layout layout, TensorSpec& tensor) {
  if (!tensor.present()) return;
  switch (layout) {
    case Layout::kRowMajor: return;
    case Layout::kOneForAll: tensor.stride = {}; return;
    case Layout::kOneForAHead: tensor.stride[tensor.rank - 1] = 0; return;
    case Layout::kReversed:
      for (int64_t& stride : tensor.stride) stride = -stride;
      return;
    case Layout::kPadded:
      for (int64_t& stride : tensor.stride) stride *= 3;
      return;
    case Layout::kFlat:
      if (tensor.rank == 2) tensor = Dense(tensor.dtype, {tensor.shape[0] * tensor.shape[1]});
      return;
  }
}

TEST_P(BoundTest, EqualsUnboundAndReference) {
  const bool has_bias = std::get<Variant>(GetParam()).source == DType::kI32;
  std::vector<DType> biases = {DType::kNone};
  if (has_bias) biases = {DType::kNone, DType::kF32, DType::kF16, DType::kBF16, DType::kI32};
  Coverage coverage;
  for (const DType bias : biases) {
    for (const Layout layout : {Layout::kRowMajor, Layout::kOneForAll, Layout::kOneForAHead,
                                Layout::kReversed, Layout::kPadded, Layout::kFlat}) {
      for (const bool offset_k : {false, true}) {
        for (const bool offset_v : {false, true}) {
          for (const bool strided_x : {false, true}) {
            Spec spec = MakeSpec({.batch = 5,
                                  .num_q_heads = 1,
                                  .num_kv_heads = 2,
                                  .head_dim = strided_x ? 40 : 80,
                                  .cache_layout = CacheLayout::kPaged,
                                  .cache_shape = {3, 2},
                                  .kv_output = offset_k,
                                  .activation_scale = offset_v,
                                  .bias_dtype = bias});
            if (offset_k) spec.offset_k = spec.scale_k;
            if (offset_v) spec.offset_v = spec.scale_v;
            for (const TensorId id : kWeights) LayOut(layout, spec.*FieldOf(id).spec);
            for (int64_t& stride : spec.x.stride) stride *= strided_x ? 2 : 1;
            SCOPED_TRACE(::testing::Message()
                         << "bias " << Name(bias) << ", layout " << static_cast<int>(layout)
                         << ", offsets " << offset_k << offset_v << ", strided x " << strided_x);
            const Plan plan = MakePlan(spec).value();
            Problem problem(spec, Flavour::kPlain, 1);
            const Result<Plan> bound = BindWeights(plan, problem.actual());
            ASSERT_TRUE(bound.ok()) << bound.status().message();
            EXPECT_EQ(bound->target(), plan.target());
            // Dense copies of strided weights need no packing.
            EXPECT_EQ(IsPacked(*bound), strided_x);
            ASSERT_EQ(CompareBound(problem, plan, *bound, &coverage), "");
          }
        }
      }
    }
  }
  EXPECT_GT(coverage.changed_bytes, 10000);
}

// Sizes, strides and values at random, in and beyond the caches.
TEST_P(BoundTest, RandomCallsEqualUnbound) {
  const auto& [variant, target] = GetParam();
  Coverage coverage;
  for (const Flavour flavour : kFlavours) {
    for (uint64_t seed = 0; seed < 12; ++seed) {
      Rng rng(seed);
      Spec spec = SampleSpec(rng, variant, {.max_tokens = Share(20)});
      spec.target = target;
      SCOPED_TRACE(::testing::Message() << Name(flavour) << " seed " << seed);
      const Plan plan = MakeStreamingPlan(spec, rng.Chance(0.5)).value();
      Problem problem(spec, flavour, seed);
      const Result<Plan> bound = BindWeights(plan, problem.actual());
      ASSERT_TRUE(bound.ok()) << bound.status().message();
      ASSERT_EQ(CompareBound(problem, plan, *bound, &coverage), "");
    }
  }
  EXPECT_GT(coverage.changed_bytes, Share(100000));
  EXPECT_GT(coverage.nan, 100);
}

// More heads than a call without bound weights prepares at a time, and none at all.
TEST_P(BoundTest, NumberOfKvHeads) {
  for (const int64_t kv_heads : {0, 1, 70}) {
    for (const bool offsets : {false, true}) {
      const Spec spec = MakeSpec({.batch = 3,
                                  .num_q_heads = 1,
                                  .num_kv_heads = kv_heads,
                                  .head_dim = 128,
                                  .cache_shape = {3, 2},
                                  .kv_output = true,
                                  .offsets = offsets});
      for (const bool streaming : {false, true}) {
        const Plan plan = MakeStreamingPlan(spec, streaming).value();
        Problem problem(spec, Flavour::kPlain, 1);
        const Result<Plan> bound = BindWeights(plan, problem.actual());
        ASSERT_TRUE(bound.ok()) << bound.status().message();
        EXPECT_EQ(KernelOf(*bound, problem.actual()).streams,
                  KernelOf(plan, problem.actual()).streams);
        Coverage coverage;
        ASSERT_EQ(CompareBound(problem, plan, *bound, &coverage), "") << kv_heads << " kv heads";
        EXPECT_GT(coverage.changed_bytes, 0);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, BoundTest, EveryKernel(), KernelName);

TEST(BindWeights, CopiesThem) {
  const Spec spec = SimpleSpec(CacheLayout::kPaged);
  Problem problem(spec, Flavour::kPlain, 1);
  const Plan plan = MakePlan(spec).value();
  for (const TensorId id : kWeights) problem.MutableInput(id);
  const Plan bound = BindWeights(plan, problem.actual()).value();
  ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
  for (const TensorId id : kWeights) {
    const Extent extent = ExtentOf(spec.*FieldOf(id).spec);
    std::memset(problem.MutableInput(id), 0x33, extent.storage);
  }
  ASSERT_TRUE(ropekv::Run(bound, problem.actual()).ok());
  EXPECT_EQ(problem.Compare(), "");
  ASSERT_TRUE(ropekv::Run(plan, problem.actual()).ok());
  EXPECT_NE(problem.Compare(), "");  // the weights did change
}

TEST(BindWeights, OfABoundPlanTakesItsOwn) {
  const Spec spec = SimpleSpec(CacheLayout::kContiguous);
  Problem problem(spec, Flavour::kPlain, 1);
  const Plan plan = MakePlan(spec).value();
  for (const void* address : {static_cast<const void*>(nullptr), Garbage()}) {
    const Args none = WithWeightsAt({}, address);
    const Result<Plan> again =
        BindWeights(BindWeights(plan, problem.actual()).value(), none);  // outlives the first
    ASSERT_TRUE(again.ok()) << again.status().message();
    Coverage coverage;
    EXPECT_EQ(CompareBound(problem, plan, *again, &coverage), "");
  }
}

TEST(BindWeights, GivesThePlanRowMajorWeights) {
  Spec spec = SimpleSpec(CacheLayout::kPaged);
  for (const TensorId id : kWeights) LayOut(Layout::kPadded, spec.*FieldOf(id).spec);
  const Problem problem(spec, Flavour::kPlain, 1);
  const Plan bound = BindWeights(MakePlan(spec).value(), problem.actual()).value();
  const Spec dense = SimpleSpec(CacheLayout::kPaged);
  for (const TensorId id : kWeights) {
    const TensorSpec& tensor = bound.spec().*FieldOf(id).spec;
    EXPECT_EQ(tensor.dtype, (dense.*FieldOf(id).spec).dtype) << FieldOf(id).name;
    EXPECT_EQ(tensor.shape, (dense.*FieldOf(id).spec).shape) << FieldOf(id).name;
    EXPECT_EQ(tensor.stride, (dense.*FieldOf(id).spec).stride) << FieldOf(id).name;
  }
}

TEST(BindWeights, NamesTheCulprit) {
  const Spec spec = SimpleSpec(CacheLayout::kPaged);
  const Problem problem(spec, Flavour::kPlain, 1);
  const Plan plan = MakePlan(spec).value();
  const Args good = WithWeightsAt({}, nullptr);
  ASSERT_EQ(BindWeights(plan, good).status().code(), StatusCode::kNullPointer);
  for (const TensorId id : kWeights) {
    const auto weight = FieldOf(id).input;
    const auto check = [&](uintptr_t address, StatusCode code) {
      Args args = problem.actual();
      args.*weight = reinterpret_cast<const void*>(address);
      const Status status = BindWeights(plan, args).status();
      EXPECT_EQ(status.code(), code) << FieldOf(id).name;
      EXPECT_EQ(status.tensor(), id) << status.message();
    };
    check(0, StatusCode::kNullPointer);
    check(reinterpret_cast<uintptr_t>(problem.actual().*weight) + 1, StatusCode::kBadPointer);
    check(UINTPTR_MAX - 3, StatusCode::kBadPointer);  // runs out of the address space
  }
}

// What is not a weight, or not one of this plan, may be anything.
TEST(BindWeights, IgnoresOtherPointers) {
  Spec spec = SimpleSpec(CacheLayout::kPaged);
  spec.x.dtype = DType::kBF16;
  for (TensorSpec* tensor : {&spec.cos, &spec.sin, &spec.q, &spec.k, &spec.v}) {
    tensor->dtype = DType::kBF16;
  }
  spec.offset_k = {};
  Problem problem(spec, Flavour::kPlain, 1);
  Args weights;
  for (const TensorField& field : kTensorFields) {
    if (field.input) weights.*field.input = Garbage();
  }
  weights.scale_k = problem.actual().scale_k;
  weights.scale_v = problem.actual().scale_v;
  weights.offset_v = problem.actual().offset_v;
  const Plan plan = MakePlan(spec).value();
  const Result<Plan> bound = BindWeights(plan, weights);
  ASSERT_TRUE(bound.ok()) << bound.status().message();
  Coverage coverage;
  EXPECT_EQ(CompareBound(problem, plan, *bound, &coverage), "");
}

TEST(BindWeights, ManyThreadsOnOnePlan) {
  const Spec spec = SimpleSpec(CacheLayout::kPaged);
  const Problem owner(spec, Flavour::kPlain, 1);
  const Plan bound = BindWeights(MakePlan(spec).value(), owner.actual()).value();
  std::vector<std::thread> callers;
  for (uint64_t caller = 2; caller < 6; ++caller) {
    callers.emplace_back([&, caller] {
      Problem problem(spec, Flavour::kPlain, caller);
      for (int round = 0; round < 50; ++round) {
        Coverage coverage;
        EXPECT_EQ(RunAndCompare(problem, bound, {.num_threads = 1 + round % 2}, &coverage), "");
        EXPECT_GT(coverage.changed_bytes, 0);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace ropekv::testing
