// SPDX-License-Identifier: Apache-2.0
// Tests of which kernel a call gets.
#ifndef ROPEKV_TESTS_SUPPORT_PATH_H_
#define ROPEKV_TESTS_SUPPORT_PATH_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <tuple>

#include "support/every_kernel.h"
#include "support/problem.h"
#include "support/sampler.h"
#include "support/streaming_plan.h"

namespace ropekv::testing {

// The step of a kernel, by the width of a target's vectors. 1: the scalar kernel.
struct Steps {
  int64_t of_512, of_256, of_128;
};

// `longest` is the step of the longest heads.
inline int64_t StepOf(const Steps& steps, Target target, int64_t longest) {
  switch (target) {
    // Their vectors are as long as the processor's; heads too short for them are left to NEON.
    case Target::kSve:
    case Target::kSve2: return longest <= steps.of_512 ? longest : steps.of_128;
    case Target::kAvx512Bf16Dot:
    case Target::kAvx512Bf16:
    case Target::kAvx512: return steps.of_512;
    case Target::kAvx2: return steps.of_256;
    case Target::kSse4:
    case Target::kNeon: return steps.of_128;
    default: return 1;
  }
}

// Addresses that are only looked at: on lines of memory, but for `output`, which is `bytes` off.
inline Args Addresses(void* Args::*output = nullptr, uintptr_t bytes = 0) {
  Args args;
  for (const TensorField& field : kTensorFields) {
    if (field.output) args.*field.output = reinterpret_cast<void*>(uintptr_t{1} << 20);
  }
  if (output) args.*output = reinterpret_cast<void*>((uintptr_t{1} << 20) + bytes);
  return args;
}

class PathTest : public ::testing::TestWithParam<std::tuple<Variant, Target>> {
 protected:
  Spec MakeSpec(int64_t head_dim, DType bias = DType::kNone, bool offsets = true,
                int64_t rotary_dim = 0, RotaryStyle style = RotaryStyle::kHalf) const {
    const auto& [variant, target] = GetParam();
    Spec spec = DenseSpec({.batch = 3,
                           .seq_len = 2,
                           .num_q_heads = 2,
                           .num_kv_heads = 2,
                           .head_dim = head_dim,
                           .x_dtype = variant.source,
                           .out_dtype = variant.output,
                           .cache_layout = CacheLayout::kPaged,
                           .cache_shape = {3, 4},
                           .rotary_dim = rotary_dim,
                           .rotary_style = style,
                           .kv_output = true,
                           .offsets = offsets,
                           .bias_dtype = variant.source == DType::kI32 ? bias : DType::kNone});
    spec.numerics = variant.numerics;
    spec.target = target;
    return spec;
  }

  // Of the longest heads that kernels take.
  int64_t LongestStep() const {
    return KernelOf(MakePlan(MakeSpec(internal::kMaxHeadDim)).value(), Addresses()).step;
  }

  // bf16 by instructions of AVX512_BF16 only in vectors of 512 bits, and by dot products without
  // offsets of k.
  internal::Rotation RotationOf(int64_t step, bool offsets) const {
    using enum internal::Rotation;
    const auto& [variant, target] = GetParam();
    const bool f32 = variant.source == DType::kI32 || variant.source == DType::kF32;
    if (step == 1 || f32) return kExact;
    if (variant.source == DType::kBF16) {
      if (step != 32) return kExact;
      if (target == Target::kAvx512Bf16Dot && !offsets) return kBF16Dot;
      const bool native = target == Target::kAvx512Bf16Dot || target == Target::kAvx512Bf16;
      return native ? kFused : kExact;
    }
    return variant.numerics == Numerics::kAscend ? kExact : kFused;
  }
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_PATH_H_
