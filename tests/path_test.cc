// SPDX-License-Identifier: Apache-2.0
// Which kernel a call gets: its instruction set, how it rotates, whether it is unrolled, whether it
// streams, and whether heads are packed. All paths give the same bytes, so no other test would
// notice that a fast one is never taken.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "support/every_kernel.h"
#include "support/problem.h"
#include "support/sampler.h"
#include "support/streaming_plan.h"

namespace ropekv::testing {
namespace {

using internal::Kernel;
using internal::Rotation;

// Heads of one size on the targets by the width of their vectors.
struct Heads {
  int64_t head_dim;
  bool packed;                           // even if every tensor is dense
  int64_t step_512, step_256, step_128;  // 2: the scalar kernel
  // With 32 registers of 512 bits, in the caches or, up to heads of 128, 16 bits streamed.
  int64_t unrolled;
  bool streams;
};
constexpr Heads kHeads[] = {
    {2, true, 8, 8, 8, 0, false},  // in blocks of 16
    {4, false, 2, 2, 2, 0, false},     {16, false, 8, 8, 8, 0, false},
    {30, false, 8, 8, 8, 0, false},    {32, false, 16, 16, 8, 0, false},
    {62, false, 16, 16, 8, 0, false},  {64, false, 32, 16, 8, 32, true},
    {80, false, 32, 16, 8, 0, false},  {96, false, 32, 16, 8, 48, false},
    {128, false, 32, 16, 8, 64, true}, {256, false, 32, 16, 8, 128, true},
    {512, false, 32, 16, 8, 0, true},  {514, true, 32, 16, 8, 128, false},  // in blocks of 256
};

// `longest` is the step of the longest heads.
int64_t StepOf(const Heads& heads, Target target, int64_t longest) {
  switch (target) {
    // Their vectors are as long as the processor's; heads too short for them are left to NEON.
    case Target::kSve:
    case Target::kSve2: return longest <= heads.step_512 ? longest : heads.step_128;
    case Target::kAvx512Bf16Dot:
    case Target::kAvx512Bf16:
    case Target::kAvx512: return heads.step_512;
    case Target::kAvx2: return heads.step_256;
    case Target::kSse4:
    case Target::kNeon: return heads.step_128;
    default: return 2;
  }
}

// Addresses that are only looked at: on lines of memory, but for `output`, which is `bytes` off.
Args Addresses(void* Args::*output = nullptr, uintptr_t bytes = 0) {
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

  // bf16 by instructions of AVX512_BF16 only in vectors of 512 bits, and by dot products without
  // offsets of k.
  Rotation RotationOf(int64_t step, bool offsets) const {
    const auto& [variant, target] = GetParam();
    const bool f32 = variant.source == DType::kI32 || variant.source == DType::kF32;
    if (step == 2 || f32) return Rotation::kExact;
    if (variant.source == DType::kBF16) {
      if (step != 32) return Rotation::kExact;
      if (target == Target::kAvx512Bf16Dot && !offsets) return Rotation::kBF16Dot;
      const bool native = target == Target::kAvx512Bf16Dot || target == Target::kAvx512Bf16;
      return native ? Rotation::kFused : Rotation::kExact;
    }
    return variant.numerics == Numerics::kAscend ? Rotation::kExact : Rotation::kFused;
  }
};

TEST_P(PathTest, ByHeadDim) {
  const Target target = std::get<Target>(GetParam());
  const int64_t longest =
      KernelOf(MakePlan(MakeSpec(internal::kMaxHeadDim)).value(), Addresses()).step;
  for (const Heads& heads : kHeads) {
    for (const DType bias : {DType::kNone, DType::kF32, DType::kF16, DType::kBF16, DType::kI32}) {
      for (const bool beyond_caches : {false, true}) {
        for (const bool aligned : {false, true}) {
          const bool offsets = bias != DType::kF32;
          const Spec spec = MakeSpec(heads.head_dim, bias, offsets);
          SCOPED_TRACE(::testing::Message()
                       << "D " << heads.head_dim << ", bias " << Name(spec.bias.dtype)
                       << ", beyond the caches " << beyond_caches << ", aligned " << aligned);
          const Plan plan = MakeStreamingPlan(spec, beyond_caches).value();
          const Kernel& kernel = KernelOf(plan, aligned ? Addresses() : Addresses(&Args::q, 32));
          const int64_t step = StepOf(heads, target, longest);
          const bool streams = heads.streams && beyond_caches && aligned && CanStream(target);
          const bool reads_32_bits = ElementBytes(spec.x.dtype) == 4;
          const bool fast = !beyond_caches || (streams && !reads_32_bits && heads.head_dim <= 128);
          const bool too_long = spec.numerics == Numerics::kAscend && heads.unrolled == 128;
          const bool unrolls = kUnrolls && Is512(target) && fast && !too_long;
          const int64_t unrolled = unrolls ? heads.unrolled : 0;
          EXPECT_EQ(IsPacked(plan), heads.packed);
          EXPECT_EQ(kernel.step, step);
          EXPECT_EQ(kernel.exact, step == 2);
          EXPECT_EQ(kernel.rotation, RotationOf(step, offsets));
          EXPECT_EQ(kernel.unrolled_pairs, unrolled);
          EXPECT_EQ(kernel.streams, streams);
        }
      }
    }
  }
}

// Neighbours are as good for dot products as halves are. They are unrolled in the caches.
TEST_P(PathTest, InterleavedPairs) {
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
TEST_P(PathTest, WholeHeads) {
  const auto& [variant, target] = GetParam();
  const bool reads_32_bits = variant.source == DType::kI32 || variant.source == DType::kF32;
  for (const RotaryStyle style : {RotaryStyle::kHalf, RotaryStyle::kInterleaved}) {
    for (const int64_t head_dim : {64, 96, 128, 256}) {
      for (const int64_t rotary_dim : {32, 64, 128}) {
        for (const bool beyond_caches : {false, true}) {
          if (rotary_dim > head_dim) continue;
          const Spec spec = MakeSpec(head_dim, DType::kNone, true, rotary_dim, style);
          const Plan plan = MakeStreamingPlan(spec, beyond_caches).value();
          // Of 96 the other 32 are too few for vectors of 512 bits.
          const bool usual = rotary_dim == 64 && head_dim > 96;
          const bool streams = style == RotaryStyle::kHalf && !reads_32_bits;
          EXPECT_EQ(KernelOf(plan, Addresses()).whole_heads,
                    Is512(target) && usual && (!beyond_caches || streams))
              << rotary_dim << " of " << head_dim << ", beyond the caches " << beyond_caches;
        }
      }
    }
  }
}

// One output at a time does not begin a line of memory, or has rows that do not.
TEST_P(PathTest, StreamingNeedsWholeLines) {
  const bool can_stream = CanStream(std::get<Target>(GetParam()));
  const Spec spec = MakeSpec(128);
  const Plan plan = MakeStreamingPlan(spec, true).value();
  EXPECT_EQ(KernelOf(plan, Addresses()).streams, can_stream);
  for (const TensorField& field : kTensorFields) {
    if (!field.output) continue;
    SCOPED_TRACE(field.name);
    for (const uintptr_t bytes : {2, 32, 62}) {
      EXPECT_FALSE(KernelOf(plan, Addresses(field.output, bytes)).streams);
    }
    EXPECT_EQ(KernelOf(plan, Addresses(field.output, 64)).streams, can_stream);

    const TensorSpec& dense = spec.*field.spec;
    const int64_t line = 64 / ElementBytes(dense.dtype);
    for (int dim = 0; dim + 1 < dense.rank; ++dim) {
      for (const int64_t gap : {line / 2, line}) {
        Spec padded = spec;
        for (int outer = 0; outer < dim; ++outer) {
          (padded.*field.spec).stride[outer] += gap * 2 * dense.stride[outer] / dense.stride[dim];
        }
        (padded.*field.spec).stride[dim] += gap;
        const Plan other = MakeStreamingPlan(padded, true).value();
        EXPECT_FALSE(IsPacked(other));
        EXPECT_EQ(KernelOf(other, Addresses()).streams, can_stream && gap == line)
            << "dimension " << dim << ", gap " << gap;
      }
    }
  }
}

// k and v that are not wanted have no address.
TEST_P(PathTest, StreamsWithoutKvOutput) {
  Spec spec = MakeSpec(128);
  spec.kv_output = false;
  Args args = Addresses();
  args.k = args.v = nullptr;
  EXPECT_EQ(KernelOf(MakeStreamingPlan(spec, true).value(), args).streams,
            CanStream(std::get<Target>(GetParam())));
}

// Channels that do not lie side by side, of any tensor but scales and offsets.
TEST_P(PathTest, StridedChannelsArePacked) {
  for (const DType bias : {DType::kF32, DType::kI32}) {
    const Spec spec = MakeSpec(128, bias);
    for (const TensorField& field : kTensorFields) {
      if (!(spec.*field.spec).present() || field.id == TensorId::kIndices) continue;
      Spec strided = spec;
      for (int64_t& stride : (strided.*field.spec).stride) stride *= 2;
      const Plan plan = MakeStreamingPlan(strided, true).value();
      const bool any_strides = field.id == TensorId::kScaleK || field.id == TensorId::kScaleV ||
                               field.id == TensorId::kOffsetK || field.id == TensorId::kOffsetV;
      EXPECT_EQ(IsPacked(plan), !any_strides) << field.name;
      EXPECT_EQ(KernelOf(plan, Addresses()).streams,
                any_strides && CanStream(std::get<Target>(GetParam())))
          << field.name;
    }
  }
}

// A call with bound weights quantises by the tables that BindWeights has made: with others, k_cache
// is another.
TEST_P(PathTest, BoundTablesAreUsed) {
  for (const bool beyond_caches : {false, true}) {
    Problem problem(MakeSpec(128), Flavour::kPlain, 1);
    const Plan plan = MakeStreamingPlan(problem.spec(), beyond_caches).value();
    const Plan bound = BindWeights(plan, problem.actual()).value();
    ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
    ASSERT_TRUE(ropekv::Run(bound, problem.actual()).ok());
    EXPECT_EQ(problem.Compare(), "");
    const Kernel& kernel = KernelOf(bound, problem.actual());
    const internal::ScaleTables tables = KeyTablesOf(bound);
    EXPECT_EQ(tables.reciprocals == nullptr, kernel.exact);
    if (kernel.exact) continue;
    for (float* table : {tables.reciprocals, tables.shifts}) {
      const auto floats = static_cast<size_t>(2 * kernel.TableSize(bound.data().parts[1]));
      const std::vector<float> before(table, table + floats);
      std::fill_n(table, floats, 0x1p22f);  // no fraction: never in doubt
      ASSERT_TRUE(ropekv::Run(bound, problem.actual()).ok());
      EXPECT_EQ(problem.Compare().substr(0, 7), "k_cache");
      std::copy(before.begin(), before.end(), table);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PathTest, EveryKernel(), KernelName);

// A token moves 23,040 bytes, of which 728 fit into 16 MiB.
TEST(Path, StreamsWhatMovesMoreThanACacheHolds) {
  for (const int64_t tokens : {728, 729}) {
    Spec spec = DenseSpec({.batch = tokens,
                           .num_q_heads = 32,
                           .num_kv_heads = 8,
                           .head_dim = 128,
                           .cache_shape = {tokens, 1}});
    for (const Target target : UsableTargets()) {
      spec.target = target;
      EXPECT_EQ(KernelOf(MakePlan(spec).value(), Addresses()).streams,
                tokens == 729 && CanStream(target))
          << tokens << " tokens on " << Name(target);
    }
  }
}

// k and v are ignored without kv_output, wherever they point.
TEST(Path, OutputsThatAreNotWantedDecideNothing) {
  const Spec spec = DenseSpec({.batch = 4,
                               .num_q_heads = 2,
                               .num_kv_heads = 1,
                               .head_dim = 128,
                               .cache_layout = CacheLayout::kPaged,
                               .cache_shape = {1, 4}});
  const Plan plan = MakeStreamingPlan(spec, true).value();
  Problem problem(spec, Flavour::kPlain, 1);
  Args args = problem.actual();
  const bool streams = KernelOf(plan, args).streams;
  args.k = args.v = reinterpret_cast<void*>(2);
  EXPECT_EQ(KernelOf(plan, args).streams, streams);
  args.q = static_cast<char*>(args.q) + 2;
  EXPECT_FALSE(KernelOf(plan, args).streams);
}

}  // namespace
}  // namespace ropekv::testing
