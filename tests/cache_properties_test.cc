// SPDX-License-Identifier: Apache-2.0
// Truths about what goes into the caches, for every target and the reference: unquantised caches,
// scales for a head or for all, indices of both dtypes in any shape.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "support/rotary_call.h"

namespace ropekv::testing {
namespace {

constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr int64_t kDims[] = {2, 30, 64, 128, 514};

Shape ShapeOf(int64_t head_dim, DType x, DType out, DType cache) {
  Shape shape = RotaryShape({head_dim, head_dim}, RotaryStyle::kHalf, x);
  shape.out_dtype = out;
  shape.cache_dtype = cache;
  shape.cache_shape = {5, 2};  // four rows more than tokens
  return shape;
}

// Token t goes to slot 9 - t; two tokens are padding. The first rows of a cache are nobody's.
void Fill(FloatCall& call) {
  Rng rng(1);
  const bool integers = call.spec.x.dtype == DType::kI32;
  call.FillRandom(rng, TensorId::kX, integers ? 1 : 0.1, integers ? 100000 : 4);
  call.FillRandom(rng, TensorId::kWeightScale, 1e-5, 4e-5);
  call.FillRandom(rng, TensorId::kCos, 0.1, 1);
  call.FillRandom(rng, TensorId::kSin, 0.1, 1);
  for (const TensorId id : {TensorId::kScaleK, TensorId::kScaleV}) {
    call.FillRandom(rng, id, 0.02, 0.05);
  }
  for (const TensorId id : {TensorId::kOffsetK, TensorId::kOffsetV}) {
    call.FillRandom(rng, id, 1, 20);
  }
  for (int64_t t = 0; t < call.Elements(TensorId::kIndices); ++t) {
    call.Set(TensorId::kIndices, t, t % 3 == 1 ? -1 : static_cast<double>(9 - t));
  }
}

// The cache rows of the tokens that are not padding, as (token, row); all others are unchanged.
template <class Visit>
void ForEachRow(FloatCall& call, const Visit& visit) {
  const int64_t width = kKvHeads * call.spec.k_cache.shape[3];
  for (int64_t row = 0; row < 10; ++row) {
    const int64_t token = 9 - row;
    if (token < kTokens && token % 3 != 1) {
      visit(token * width, row * width, width);
      continue;
    }
    const auto bytes = ElementBytes(call.spec.k_cache.dtype) * width;
    for (const TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
      const auto begin = call.bytes(id).begin() + row * bytes;
      EXPECT_EQ(std::count(begin, begin + bytes, 0x55), bytes) << "row " << row;
    }
  }
}

class CacheProperties : public ::testing::TestWithParam<Computer> {};

// A cache of the dtype of k and v holds k and v.
TEST_P(CacheProperties, ACacheOfTheOutputsDTypeHoldsTheOutput) {
  for (const int64_t head_dim : kDims) {
    for (const DType x : {DType::kI32, DType::kF32, DType::kF16, DType::kBF16}) {
      for (const DType out : kFloats) {
        if (x != DType::kI32 && x != out) continue;
        FloatCall call(ShapeOf(head_dim, x, out, out));
        Fill(call);
        call.Run(GetParam());
        ForEachRow(call, [&](int64_t output, int64_t row, int64_t width) {
          for (int64_t i = 0; i < width; ++i) {
            ASSERT_EQ(call.Get(TensorId::kKCache, row + i), call.Get(TensorId::kK, output + i));
            ASSERT_EQ(call.Get(TensorId::kVCache, row + i), call.Get(TensorId::kV, output + i));
          }
        });
      }
    }
  }
}

// The value of an f32 cache is the one that others are made from, by one rounding or by steps.
TEST_P(CacheProperties, OthersAreMadeFromTheValueOfAnF32Cache) {
  for (const int64_t head_dim : kDims) {
    for (const auto& [x, out] :
         {std::pair(DType::kI32, DType::kBF16), std::pair(DType::kI32, DType::kF16),
          std::pair(DType::kF32, DType::kF32), std::pair(DType::kF16, DType::kF16),
          std::pair(DType::kBF16, DType::kBF16)}) {
      FloatCall exact(ShapeOf(head_dim, x, out, DType::kF32));
      Fill(exact);
      exact.Run(GetParam());
      for (const DType cache : {DType::kI8, DType::kF16, DType::kBF16}) {
        Shape shape = ShapeOf(head_dim, x, out, cache);
        shape.offsets = cache == DType::kI8;
        FloatCall call(shape), wanted(shape);
        Fill(call);
        Fill(wanted);
        for (const TensorId id :
             {TensorId::kX, TensorId::kWeightScale, TensorId::kCos, TensorId::kSin}) {
          ASSERT_EQ(call.bytes(id), exact.bytes(id));
        }
        call.Run(GetParam());
        int64_t rounded = 0;
        ForEachRow(exact, [&](int64_t, int64_t row, int64_t width) {
          for (int64_t i = row; i < row + width; ++i) {
            for (const auto& [id, scale, offset] :
                 {std::tuple(TensorId::kKCache, TensorId::kScaleK, TensorId::kOffsetK),
                  std::tuple(TensorId::kVCache, TensorId::kScaleV, TensorId::kOffsetV)}) {
              const auto value = static_cast<float>(exact.Get(id, i));
              if (cache == DType::kI8) {
                const float ratio = value / static_cast<float>(call.Get(scale, i % width));
                const float level = ratio + static_cast<float>(call.Get(offset, i % width));
                wanted.Set(id, i, std::nearbyint(std::clamp(level, -128.0f, 127.0f)));
              } else {
                wanted.Set(id, i, value);
              }
              rounded += wanted.Get(id, i) != exact.Get(id, i);
            }
          }
        });
        EXPECT_EQ(call.bytes(TensorId::kKCache), wanted.bytes(TensorId::kKCache));
        EXPECT_EQ(call.bytes(TensorId::kVCache), wanted.bytes(TensorId::kVCache));
        // bf16 values are exact in f16 but for their size.
        EXPECT_GT(rounded, 0) << Name(out) << " " << Name(cache);
      }
    }
  }
}

// One scale for a head, or for all, is the same scale for each channel; offsets too, and bound.
TEST_P(CacheProperties, AScaleForManyIsTheSameForEach) {
  for (const int64_t head_dim : kDims) {
    for (const DType x : {DType::kI32, DType::kF32, DType::kF16, DType::kBF16}) {
      const DType out = x == DType::kI32 ? DType::kF16 : x;
      for (const int64_t count : {int64_t{1}, kKvHeads}) {
        Shape shape = ShapeOf(head_dim, x, out, DType::kI8);
        shape.offsets = true;
        FloatCall few(shape), each(shape);
        const TensorSpec scale =
            count == 1 ? Dense(DType::kF32, {1}) : Dense(DType::kF32, {kKvHeads, 1});
        for (TensorSpec* tensor :
             {&few.spec.scale_k, &few.spec.scale_v, &few.spec.offset_k, &few.spec.offset_v}) {
          *tensor = scale;
        }
        Fill(few);
        Fill(each);
        for (const TensorId id :
             {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV}) {
          for (int64_t i = 0; i < each.Elements(id); ++i) {
            each.Copy(id, i, few, id, count == 1 ? 0 : i / head_dim);
          }
        }
        each.Run(GetParam());
        few.Run(GetParam());
        ExpectSameOutputs(few, each);
        FloatCall bound(few);
        for (const TensorId id : {TensorId::kKCache, TensorId::kVCache}) bound.Fill(id, 0x55);
        bound.RunBound(GetParam());
        ExpectSameOutputs(bound, each);
      }
    }
  }
}

// Indices are numbers, whatever their dtype, and lie in row-major order, whatever their shape.
TEST_P(CacheProperties, IndicesInEveryForm) {
  for (const CacheLayout layout : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
    const bool paged = layout == CacheLayout::kPaged;
    Shape shape = ShapeOf(64, DType::kBF16, DType::kBF16, DType::kI8);
    shape.cache_layout = layout;
    shape.cache_shape = {2, 6};
    const std::vector<double> indices =
        paged ? std::vector<double>{7, 3, -1, 11, 0, 4} : std::vector<double>{3, 1};
    const auto count = static_cast<int64_t>(indices.size());
    FloatCall wanted(shape);
    Fill(wanted);
    for (int64_t i = 0; i < count; ++i) wanted.Set(TensorId::kIndices, i, indices[i]);
    wanted.Run(GetParam());
    for (const DType dtype : {DType::kI32, DType::kI64}) {
      std::vector<TensorSpec> forms = {Dense(dtype, {count}), Dense(dtype, {count, 1}),
                                       Dense(dtype, {1, count})};
      if (paged) forms.push_back(Dense(dtype, {kBatch, kSeq}));
      for (const TensorSpec& form : forms) {
        FloatCall call(shape);
        call.spec.indices = form;
        Fill(call);
        for (int64_t i = 0; i < count; ++i) call.Set(TensorId::kIndices, i, indices[i]);
        call.Run(GetParam());
        ExpectSameOutputs(call, wanted);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CacheProperties, ::testing::ValuesIn(AllComputers()),
                         [](const auto& param) { return NameOf(param.param); });

}  // namespace
}  // namespace ropekv::testing
