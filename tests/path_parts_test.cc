// SPDX-License-Identifier: Apache-2.0
// Which kernel a call gets whose heads are rotated in part, or by neighbours.
#include <gtest/gtest.h>

#include <cstdint>
#include <tuple>

#include "support/path.h"

namespace ropekv::testing {
namespace {

using internal::Kernel;

class PathPartsTest : public PathTest {};

// Neighbours are as good for dot products as halves are. They are unrolled in the caches.
TEST_P(PathPartsTest, InterleavedPairs) {
  for (const int64_t head_dim : {64, 96, 128, 256}) {
    for (const bool beyond_caches : {false, true}) {
      for (const bool offsets : {false, true}) {
        Spec spec = MakeSpec(head_dim, DType::kNone, offsets);
        spec.rotary_style = RotaryStyle::kInterleaved;
        const Plan plan = MakeStreamingPlan(spec, beyond_caches).value();
        const Kernel& kernel = KernelOf(plan, Addresses());
        const bool usual = head_dim == 64 || head_dim == 128;
        const bool unrolled = Is512(spec.target) && kUnrolls && usual && !beyond_caches;
        EXPECT_EQ(kernel.rotation, RotationOf(kernel.step, offsets));
        EXPECT_EQ(kernel.unrolled_pairs, unrolled ? head_dim / 2 : 0)
            << "D " << head_dim << ", beyond the caches " << beyond_caches << ", offsets "
            << offsets;
      }
    }
  }
}

// 64 rotated channels of longer heads, as most models have that rotate a part: the others are done
// with them, where a call of 64 channels would be unrolled. Builds with sanitizers have these, too.
// And 32 that turn by halves, which are one step and not two.
TEST_P(PathPartsTest, WholeHeads) {
  const auto& [variant, target] = GetParam();
  const bool reads_32_bits = variant.source == DType::kI32 || variant.source == DType::kF32;
  for (const RotaryStyle style : {RotaryStyle::kHalf, RotaryStyle::kInterleaved}) {
    for (const int64_t head_dim : {64, 96, 128, 256}) {
      for (const int64_t rotary_dim : {32, 64, 128}) {
        for (const bool beyond_caches : {false, true}) {
          if (rotary_dim > head_dim) continue;
          const Spec spec = MakeSpec(head_dim, DType::kNone, true, rotary_dim, style);
          const Plan plan = MakeStreamingPlan(spec, beyond_caches).value();
          const bool half = style == RotaryStyle::kHalf;
          const bool streams = half && !reads_32_bits && head_dim != 96;
          const bool usual = rotary_dim == 64 && head_dim > 64 && (!beyond_caches || streams);
          const bool one_step = rotary_dim == 32 && half;
          EXPECT_EQ(KernelOf(plan, Addresses()).whole_heads, Is512(target) && (usual || one_step))
              << rotary_dim << " of " << head_dim << ", beyond the caches " << beyond_caches;
        }
      }
    }
  }
}

// Parts of heads that are too short for the vectors of a target. Of those that pass, and of
// neighbours, a step is enough; halves need two, but for 32 channels with AVX-512.
TEST_P(PathPartsTest, ShortParts) {
  using enum RotaryStyle;
  struct Case {
    RotaryStyle style;
    int64_t head_dim, rotary_dim;
    Steps steps;
  };
  const Target target = std::get<Target>(GetParam());
  for (const Case& c :
       {Case{kHalf, 96, 64, {32, 16, 8}}, Case{kHalf, 94, 64, {16, 16, 8}},
        Case{kHalf, 64, 32, {16, 16, 8}}, Case{kHalf, 62, 32, {16, 16, 8}},
        Case{kHalf, 96, 30, {8, 8, 8}}, Case{kHalf, 30, 16, {8, 8, 8}},
        Case{kHalf, 30, 14, {1, 1, 1}}, Case{kHalf, 70, 64, {1, 1, 1}},
        Case{kInterleaved, 64, 32, {32, 16, 8}}, Case{kInterleaved, 64, 30, {16, 16, 8}},
        Case{kInterleaved, 32, 32, {32, 16, 8}}, Case{kInterleaved, 16, 8, {8, 8, 8}},
        Case{kInterleaved, 4, 2, {1, 1, 1}}}) {
    SCOPED_TRACE(::testing::Message() << c.rotary_dim << " of " << c.head_dim);
    const Spec spec = MakeSpec(c.head_dim, DType::kNone, true, c.rotary_dim, c.style);
    const Plan plan = MakePlan(spec).value();
    EXPECT_FALSE(IsPacked(plan));
    const bool one_place = Is512(target) && c.head_dim == 64 && c.rotary_dim == 32;
    EXPECT_EQ(KernelOf(plan, Addresses()).step,
              one_place ? 32 : StepOf(c.steps, target, LongestStep()));
  }
}

INSTANTIATE_TEST_SUITE_P(All, PathPartsTest, EveryKernel(), KernelName);

}  // namespace
}  // namespace ropekv::testing
