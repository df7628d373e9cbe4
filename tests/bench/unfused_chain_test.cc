// SPDX-License-Identifier: Apache-2.0
#include "bench/unfused_chain.h"

#include <gtest/gtest.h>

#include <cstring>

#include "bench/suite.h"
#include "support/rng.h"
#include "workload/case.h"

namespace ropekv::bench {
namespace {

bool IsNan16(DType dtype, uint16_t bits) {
  return (bits & 0x7FFF) > (dtype == DType::kF16 ? 0x7C00 : 0x7F80);
}

// Every output byte of the chain is the reference's, but for the payload of a NaN.
void ExpectTheReferencesBytes(const workload::Case& made, int threads) {
  const Plan plan = MakePlan(made.spec).value();
  const workload::Buffers expected = workload::CloneOutputs(made, 0xA5);
  const workload::Buffers actual = workload::CloneOutputs(made, 0x5A);
  ASSERT_TRUE(RunReference(plan, workload::WithOutputs(made.args(), expected)).ok());
  UnfusedChain(plan, workload::WithOutputs(made.args(), actual)).Run(threads);
  for (const TensorField& field : kTensorFields) {
    if (!field.output) continue;
    const auto at = static_cast<size_t>(field.id);
    const DType dtype = (made.spec.*field.spec).dtype;
    if (workload::IsCache(field.id)) {
      ASSERT_EQ(std::memcmp(actual[at].data(), expected[at].data(),
                            static_cast<size_t>(expected[at].size())),
                0)
          << field.name;
      continue;
    }
    for (int64_t i = 0; i < expected[at].size() / 2; ++i) {
      const uint16_t a = actual[at].as<uint16_t>()[i];
      const uint16_t e = expected[at].as<uint16_t>()[i];
      ASSERT_TRUE(a == e || (IsNan16(dtype, a) && IsNan16(dtype, e)))
          << field.name << " " << i << ": " << a << ", expected " << e;
    }
  }
}

TEST(UnfusedChain, EqualsTheReference) {
  for (const char* name : {"Llama-3-70B-TP8", "Qwen2.5-0.5B", "Phi-3-mini", "Gemma-2B"}) {
    for (const Variant& variant : Variants()) {
      if (variant.dtype == DType::kF32) continue;  // not the chain's
      for (const Placement placement : {Placement::kContiguous, Placement::kRandomSlots}) {
        for (const int threads : {1, 2}) {
          SCOPED_TRACE(name);
          Point point;
          point.model = *workload::FindModel(name);
          point.tokens = 5;
          point.variant = variant;
          point.placement = placement;
          point.kv_output = threads == 2;
          ExpectTheReferencesBytes(CaseOf(point), threads);
        }
      }
    }
  }
}

// Subnormal numbers, infinities, NaNs, and values that saturate.
TEST(UnfusedChain, EqualsTheReferenceOnAnyBits) {
  for (const Variant& variant : Variants()) {
    if (variant.dtype == DType::kF32) continue;
    Point point;
    point.model = *workload::FindModel("Llama-3-70B-TP8");
    point.tokens = 60;
    point.variant = variant;
    point.kv_output = true;
    const workload::Case made = CaseOf(point);
    testing::Rng rng(5);
    const workload::Buffer& x = made[TensorId::kX];
    for (int64_t i = 0; i < x.size() / 2; ++i) {
      x.as<uint16_t>()[i] = static_cast<uint16_t>(rng.Bits());
    }
    ExpectTheReferencesBytes(made, 1);
  }
}

}  // namespace
}  // namespace ropekv::bench
