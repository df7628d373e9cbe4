// SPDX-License-Identifier: Apache-2.0
// Which kernel a call gets: its instruction set, how it rotates, whether it is unrolled, whether it
// streams, and whether heads are packed. All paths give the same bytes, so no other test would
// notice that a fast one is never taken.
#include "support/path.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace ropekv::testing {
namespace {

using internal::Kernel;

// Heads of one size on the targets by the width of their vectors.
struct Heads {
  int64_t head_dim;
  bool packed;  // even if every tensor is dense
  Steps steps;
  // With 32 registers of 512 bits, in the caches or, up to heads of 128, 16 bits streamed.
  int64_t unrolled;
  bool streams;
};
constexpr Heads kHeads[] = {
    {2, false, {1, 1, 1}, 0, false},      {4, false, {1, 1, 1}, 0, false},
    {16, false, {8, 8, 8}, 0, false},     {30, false, {8, 8, 8}, 0, false},
    {32, false, {16, 16, 8}, 0, false},   {62, false, {16, 16, 8}, 0, false},
    {64, false, {32, 16, 8}, 32, true},   {80, false, {32, 16, 8}, 0, false},
    {96, false, {32, 16, 8}, 48, false},  {128, false, {32, 16, 8}, 64, true},
    {256, false, {32, 16, 8}, 128, true}, {512, false, {32, 16, 8}, 0, true},
    {514, true, {32, 16, 8}, 128, false},  // in blocks of 256
};

TEST_P(PathTest, ByHeadDim) {
  const Target target = std::get<Target>(GetParam());
  const int64_t longest = LongestStep();
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
          const int64_t step = StepOf(heads.steps, target, longest);
          const bool streams = heads.streams && beyond_caches && aligned && CanStream(target);
          const bool reads_32_bits = ElementBytes(spec.x.dtype) == 4;
          const bool fast = !beyond_caches || (streams && !reads_32_bits && heads.head_dim <= 128);
          const bool too_long = spec.numerics == Numerics::kAscend && heads.unrolled == 128;
          const bool unrolls = kUnrolls && Is512(target) && fast && !too_long;
          const int64_t unrolled = unrolls ? heads.unrolled : 0;
          EXPECT_EQ(IsPacked(plan), heads.packed);
          EXPECT_EQ(kernel.step, step);
          EXPECT_EQ(kernel.exact, step == 1);
          EXPECT_EQ(kernel.rotation, RotationOf(step, offsets));
          EXPECT_EQ(kernel.unrolled_pairs, unrolled);
          EXPECT_EQ(kernel.streams, streams);
        }
      }
    }
  }
}

// Caches of a dtype that is neither int8 nor that of the outputs, or f32 angles for other outputs:
// unrolled where heads of 128 turn by halves.
TEST_P(PathTest, DTypesOfAnyKind) {
  const auto& [variant, target] = GetParam();
  for (const DType cache : {DType::kI8, DType::kF16, DType::kBF16, DType::kF32}) {
    const bool wide_angles = cache == DType::kI8;
    if ((wide_angles ? DType::kF32 : cache) == variant.output) continue;
    if (wide_angles && variant.source == DType::kI32) continue;  // has the same kernels for all
    for (const RotaryStyle style : {RotaryStyle::kHalf, RotaryStyle::kInterleaved}) {
      for (const int64_t head_dim : {64, 128}) {
        for (const bool beyond_caches : {false, true}) {
          Spec spec = MakeSpec(head_dim, DType::kNone, false, 0, style);
          if (wide_angles) {
            spec.cos.dtype = spec.sin.dtype = DType::kF32;
          } else {
            spec.scale_k = spec.scale_v = TensorSpec();
            spec.k_cache.dtype = spec.v_cache.dtype = cache;
          }
          const Plan plan = MakeStreamingPlan(spec, beyond_caches).value();
          const Kernel& kernel = KernelOf(plan, Addresses());
          const bool unrolled = Is512(target) && kUnrolls && head_dim == 128 && !beyond_caches &&
                                style == RotaryStyle::kHalf &&
                                (wide_angles || variant.numerics != Numerics::kAscend);
          EXPECT_EQ(kernel.unrolled_pairs, unrolled ? 64 : 0) << head_dim << " " << Name(cache);
          EXPECT_EQ(kernel.streams, beyond_caches && CanStream(target));
          EXPECT_EQ(kernel.rotation, internal::Rotation::kExact);
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
    const int64_t element_bytes = ElementBytes(dense.dtype);
    if (element_bytes == 0) FAIL() << "not there";
    const int64_t line = 64 / element_bytes;
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
