// SPDX-License-Identifier: Apache-2.0
// DenseSpec: the tensors of a Shape, and what MakePlan makes of sizes that make no sense.
#include <gtest/gtest.h>

#include <limits>

#include "support/simple_case.h"

namespace ropekv::testing {
namespace {

constexpr Shape kSmall = {.batch = 3,
                          .num_q_heads = 4,
                          .num_kv_heads = 2,
                          .head_dim = 8,
                          .cache_layout = CacheLayout::kPaged,
                          .cache_shape = {5, 16}};

// Exactly the tensors of `wanted`, which are in TensorId order.
void ExpectTensors(const Spec& spec,
                   std::initializer_list<std::pair<TensorId, TensorSpec>> wanted) {
  const auto* next = wanted.begin();
  for (const TensorField& field : kTensorFields) {
    const bool present = next != wanted.end() && next->first == field.id;
    const TensorSpec expected = present ? next++->second : TensorSpec{};
    const TensorSpec& found = spec.*field.spec;
    EXPECT_EQ(found.dtype, expected.dtype) << field.name;
    EXPECT_EQ(found.rank, expected.rank) << field.name;
    EXPECT_EQ(found.shape, expected.shape) << field.name;
    EXPECT_EQ(found.stride, expected.stride) << field.name;
  }
  EXPECT_EQ(next, wanted.end());
}

TEST(DenseSpec, OneRowForEachToken) {
  const Spec spec = DenseSpec(kSmall);
  const TensorSpec cache = Dense(DType::kI8, {5, 16, 2, 8});
  const TensorSpec scale = Dense(DType::kF32, {2, 8});
  ExpectTensors(spec, {{TensorId::kX, Dense(DType::kBF16, {3, 64})},
                       {TensorId::kCos, Dense(DType::kBF16, {3, 8})},
                       {TensorId::kSin, Dense(DType::kBF16, {3, 8})},
                       {TensorId::kKCache, cache},
                       {TensorId::kVCache, cache},
                       {TensorId::kIndices, Dense(DType::kI32, {3})},
                       {TensorId::kScaleK, scale},
                       {TensorId::kScaleV, scale},
                       {TensorId::kQ, Dense(DType::kBF16, {3, 4, 8})}});
  EXPECT_EQ(spec.size_splits, (std::array<int64_t, 3>{32, 16, 16}));
  EXPECT_EQ(spec.cache_layout, CacheLayout::kPaged);
  EXPECT_FALSE(spec.kv_output);
  EXPECT_TRUE(MakePlan(spec).ok());
}

TEST(DenseSpec, SequencesAndEveryOptionalTensor) {
  Spec spec = DenseSpec(SimpleShape(CacheLayout::kContiguous));
  const TensorSpec table = Dense(DType::kF16, {2, 3, 1, 16});
  const TensorSpec cache = Dense(DType::kI8, {2, 8, 1, 16});
  const TensorSpec scale = Dense(DType::kF32, {1, 16});
  ExpectTensors(spec, {{TensorId::kX, Dense(DType::kI32, {2, 3, 64})},
                       {TensorId::kCos, table},
                       {TensorId::kSin, table},
                       {TensorId::kKCache, cache},
                       {TensorId::kVCache, cache},
                       {TensorId::kIndices, Dense(DType::kI32, {2})},
                       {TensorId::kScaleK, scale},
                       {TensorId::kScaleV, scale},
                       {TensorId::kOffsetK, scale},
                       {TensorId::kOffsetV, scale},
                       {TensorId::kWeightScale, Dense(DType::kF32, {64})},
                       {TensorId::kActivationScale, Dense(DType::kF32, {6})},
                       {TensorId::kBias, Dense(DType::kF16, {64})},
                       {TensorId::kQ, Dense(DType::kF16, {2, 3, 2, 16})},
                       {TensorId::kK, table},
                       {TensorId::kV, table}});
  EXPECT_EQ(spec.size_splits, (std::array<int64_t, 3>{32, 16, 16}));
  EXPECT_EQ(spec.cache_layout, CacheLayout::kContiguous);
  EXPECT_TRUE(spec.kv_output);
  EXPECT_TRUE(MakePlan(spec).ok());
}

TEST(DenseSpec, RowsForAPartOfEachHead) {
  Shape shape = kSmall;
  shape.seq_len = 2;
  shape.cache_shape = {5, 16};
  shape.rotary_dim = 6;
  shape.angles_dtype = DType::kF32;
  const Spec spec = DenseSpec(shape);
  EXPECT_EQ(spec.cos.shape, Dense(DType::kF32, {3, 2, 1, 6}).shape);
  EXPECT_EQ(spec.sin.dtype, DType::kF32);
  EXPECT_EQ(spec.q.dtype, DType::kBF16);
  EXPECT_EQ(spec.rotary_dim, 6);
  EXPECT_EQ(spec.rotary_style, RotaryStyle::kHalf);
  EXPECT_FALSE(spec.positions.present());
  EXPECT_TRUE(MakePlan(spec).ok());
}

TEST(DenseSpec, ATableAndCachesThatAreNotQuantised) {
  Shape shape = kSmall;
  shape.seq_len = 2;
  shape.cache_dtype = DType::kF16;
  shape.index_dtype = DType::kI64;
  shape.num_positions = 40;
  shape.rotary_dim = 4;
  shape.rotary_style = RotaryStyle::kInterleaved;
  shape.half_width_angles = true;
  shape.offsets = true;  // of i8 caches alone
  const Spec spec = DenseSpec(shape);
  const TensorSpec cache = Dense(DType::kF16, {5, 16, 2, 8});
  const TensorSpec table = Dense(DType::kBF16, {40, 2});
  const TensorSpec integers = Dense(DType::kI64, {6});
  ExpectTensors(spec, {{TensorId::kX, Dense(DType::kBF16, {3, 2, 64})},
                       {TensorId::kCos, table},
                       {TensorId::kSin, table},
                       {TensorId::kKCache, cache},
                       {TensorId::kVCache, cache},
                       {TensorId::kIndices, integers},
                       {TensorId::kQ, Dense(DType::kBF16, {3, 2, 4, 8})},
                       {TensorId::kPositions, integers}});
  EXPECT_EQ(spec.rotary_dim, 4);
  EXPECT_EQ(spec.rotary_style, RotaryStyle::kInterleaved);
  EXPECT_TRUE(MakePlan(spec).ok());
}

// Without tokens and blocks no tensor's own size gives an overflow away.
TEST(DenseSpec, MakePlanRefusesNonsense) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t Shape::*const kSizes[] = {&Shape::num_q_heads, &Shape::num_kv_heads, &Shape::head_dim};
  for (const bool empty : {false, true}) {
    Shape shape = kSmall;
    if (empty) {
      shape.batch = 0;
      shape.cache_shape = {0, 0};
    }
    ASSERT_TRUE(MakePlan(DenseSpec(shape)).ok());
    for (const auto size : kSizes) {
      // 8 heads of 2^61, or 2^61 heads of 8, are 2^64 channels.
      for (const int64_t value : {int64_t{-1}, int64_t{1} << 61, kMax, kMax - 1, -kMax - 1}) {
        Shape bad = shape;
        bad.*size = value;
        const Status status = MakePlan(DenseSpec(bad)).status();
        EXPECT_EQ(status.code(), StatusCode::kBadShape) << value << ": " << status.message();
      }
    }
  }
  for (const bool empty : {false, true}) {
    for (const int64_t value : {int64_t{-1}, int64_t{1} << 61, kMax, kMax - 1, -kMax - 1}) {
      for (const auto size : {&Shape::rotary_dim, &Shape::num_positions}) {
        Shape bad = kSmall;
        if (empty) bad.batch = 0;
        bad.*size = value;
        const Status status = MakePlan(DenseSpec(bad)).status();
        EXPECT_EQ(status.code(), StatusCode::kBadShape) << value << ": " << status.message();
      }
    }
  }
  for (const int64_t value : {int64_t{-1}, kMax, -kMax - 1}) {
    Shape bad = kSmall;
    bad.batch = value;
    EXPECT_EQ(MakePlan(DenseSpec(bad)).status().code(), StatusCode::kBadShape) << value;
    bad = kSmall;
    bad.seq_len = value;
    EXPECT_EQ(MakePlan(DenseSpec(bad)).status().code(), StatusCode::kBadShape) << value;
    bad = kSmall;
    bad.cache_shape[1] = value;
    EXPECT_EQ(MakePlan(DenseSpec(bad)).status().code(), StatusCode::kBadShape) << value;
  }
}

}  // namespace
}  // namespace ropekv::testing
