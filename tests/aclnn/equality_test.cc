// SPDX-License-Identifier: Apache-2.0
// Results through the C interface are those of the reference twin, byte for byte. Runs once a
// numerics: ROPEKV_NUMERICS chooses.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "aclnn/call.h"
#include "support/problem.h"

namespace ropekv::testing {
namespace {

Numerics ExpectedNumerics() {
  const char* value = std::getenv("ROPEKV_NUMERICS");
  return value && std::string(value) == "float32" ? Numerics::kFloat32 : Numerics::kAscend;
}

// The interface writes q, k and v densely, whatever their strides.
void MakeDense(TensorSpec& tensor) {
  const auto& shape = tensor.shape;
  if (tensor.rank == 3) tensor = Dense(tensor.dtype, {shape[0], shape[1], shape[2]});
  if (tensor.rank == 4) tensor = Dense(tensor.dtype, {shape[0], shape[1], shape[2], shape[3]});
}

void Work(void*) {}

class Equality : public ::testing::TestWithParam<Flavour> {
 protected:
  void SetUp() override {
    ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
    ASSERT_EQ(aclrtCreateStream(&stream_), ACL_SUCCESS);
  }
  void TearDown() override {
    EXPECT_EQ(aclrtDestroyStream(stream_), ACL_SUCCESS);
    EXPECT_EQ(aclrtResetDevice(0), ACL_SUCCESS);
  }
  aclrtStream stream_ = nullptr;
};

TEST_P(Equality, WithTheReference) {
  Rng rng(20240 + static_cast<int>(GetParam()));
  Coverage coverage;
  int calls = 0;
  for (const Variant& variant : AllVariants()) {
    if (variant.numerics != ExpectedNumerics() && variant.output == DType::kF16) continue;
    if (variant.output == DType::kF32) continue;  // none of a device's
    for (int round = 0; round < ROPEKV_ROUNDS; ++round) {
      Spec spec = SampleSpec(rng, variant, {.device_only = true});
      spec.numerics = ExpectedNumerics();
      for (TensorSpec* output : {&spec.q, &spec.k, &spec.v}) {
        if (output->present()) MakeDense(*output);
      }
      const auto seed = 1000 * static_cast<uint64_t>(round) + static_cast<uint64_t>(calls);
      Problem problem(spec, GetParam(), seed);
      const Result<Plan> plan = MakePlan(spec);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      ASSERT_TRUE(RunReference(*plan, problem.expected()).ok());

      // In the caller, and in the stream's thread behind other work.
      AclCall call(spec, problem.actual());
      if (round % 2) {
        ASSERT_EQ(aclrtLaunchHostFunc(stream_, Work, nullptr), ACL_SUCCESS);
      }
      ASSERT_EQ(call.Run(stream_), ACL_SUCCESS) << TakeMessage();
      ASSERT_EQ(problem.Compare(&coverage), "") << variant.name << " seed " << seed;
      ++calls;
    }
  }
  EXPECT_GE(calls, 4 * ROPEKV_ROUNDS);
  EXPECT_GT(coverage.changed_bytes, 4000 * ROPEKV_ROUNDS);
}

INSTANTIATE_TEST_SUITE_P(Flavours, Equality, ::testing::ValuesIn(kFlavours),
                         [](const auto& flavour) { return std::string(Name(flavour.param)); });

}  // namespace
}  // namespace ropekv::testing
