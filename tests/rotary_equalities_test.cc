// SPDX-License-Identifier: Apache-2.0
// Rotations said in two ways: the same bytes, for every target and the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "support/rotary_call.h"

namespace ropekv::testing {
namespace {

using Size = std::pair<int64_t, int64_t>;  // of a head, and of the part that is rotated

// bf16 caches have to round, i8 ones to quantise.
constexpr std::pair<DType, DType> kDTypes[] = {
    {DType::kF32, DType::kI8},   {DType::kF32, DType::kBF16}, {DType::kF16, DType::kI8},
    {DType::kF16, DType::kBF16}, {DType::kBF16, DType::kI8},  {DType::kBF16, DType::kF16},
    {DType::kI32, DType::kI8},   {DType::kI32, DType::kBF16},
};

// Calls f with the shape of each size, style, and pair of dtypes.
template <class F>
void ForEachShape(const F& f) {
  for (const Size& size : kSizes) {
    for (const RotaryStyle style : kStyles) {
      for (const auto& [dtype, cache] : kDTypes) {
        Shape shape = RotaryShape(size, style, dtype);
        if (dtype == DType::kI32) shape.out_dtype = DType::kBF16;
        shape.cache_dtype = cache;
        SCOPED_TRACE(::testing::Message()
                     << "D " << size.first << ", R " << size.second << ", style "
                     << static_cast<int>(style) << ", " << Name(dtype) << ", " << Name(cache));
        f(shape);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

// Any numbers; cos and sin of a pair's channels are independent. They come last, so that the
// others are the same however many they are.
void FillAny(FloatCall& call) {
  Rng rng(6);
  const bool integers = call.spec.x.dtype == DType::kI32;
  call.FillRandom(rng, TensorId::kX, integers ? 1 : 0.1, integers ? 100000 : 4);
  call.FillRandom(rng, TensorId::kScaleK, 0.01, 0.05);
  call.FillRandom(rng, TensorId::kScaleV, 0.01, 0.05);
  call.FillRandom(rng, TensorId::kWeightScale, 1e-5, 4e-5);
  call.FillRandom(rng, TensorId::kCos, 0.1, 1);
  call.FillRandom(rng, TensorId::kSin, 0.1, 1);
  call.FillCounting(TensorId::kIndices);
}

class RotaryEqualities : public ::testing::TestWithParam<Computer> {};

TEST_P(RotaryEqualities, WholeHeadsAreTheDefault) {
  ForEachShape([](Shape shape) {
    shape.rotary_dim = shape.head_dim;
    FloatCall said(shape);
    shape.rotary_dim = 0;
    FloatCall unsaid(shape);
    for (FloatCall* call : {&said, &unsaid}) {
      FillAny(*call);
      call->Run(GetParam());
    }
    ExpectSameOutputs(said, unsaid);
  });
}

// Each rotated part of a head is a head of its own, if heads are that short.
TEST_P(RotaryEqualities, PartOfAHeadIsAShorterHead) {
  ForEachShape([](const Shape& shape) {
    Shape short_shape = shape;
    short_shape.head_dim = shape.rotary_dim;
    FloatCall part(shape), whole(short_shape);
    FillAny(part);
    FillAny(whole);
    for (const TensorField& field : kTensorFields) {
      const bool by_heads = !field.output && field.id != TensorId::kCos &&
                            field.id != TensorId::kSin && field.id != TensorId::kIndices;
      const int64_t stride = by_heads ? shape.head_dim : shape.rotary_dim;
      for (int64_t i = 0; !field.output && i < whole.Elements(field.id); ++i) {
        const int64_t from = i / shape.rotary_dim * stride + i % shape.rotary_dim;
        whole.Copy(field.id, i, part, field.id, from);
      }
    }
    part.Run(GetParam());
    whole.Run(GetParam());
    FloatCall first(short_shape);
    for (const TensorField& field : kTensorFields) {
      for (int64_t i = 0; field.output && i < first.Elements(field.id); ++i) {
        const int64_t from = i / shape.rotary_dim * shape.head_dim + i % shape.rotary_dim;
        first.Copy(field.id, i, part, field.id, from);
      }
    }
    ExpectSameOutputs(first, whole);
  });
}

// The channels that are not rotated are those of a call that rotates by nothing.
TEST_P(RotaryEqualities, TheRestOfAHeadPasses) {
  ForEachShape([](const Shape& shape) {
    FloatCall call(shape), still(shape);
    FillAny(call);
    FillAny(still);
    still.Fill(TensorId::kCos, 1);
    still.Fill(TensorId::kSin, 0);
    call.Run(GetParam());
    still.Run(GetParam());
    for (const TensorField& field : kTensorFields) {
      if (!field.output) continue;
      int64_t differ = 0;
      for (int64_t i = 0; i < call.Elements(field.id); ++i) {
        const bool same = call.Get(field.id, i) == still.Get(field.id, i);
        if (i % shape.head_dim >= shape.rotary_dim) {
          ASSERT_TRUE(same) << field.name << " " << i;
        }
        differ += !same;
      }
      const bool of_v = field.id == TensorId::kV || field.id == TensorId::kVCache;
      EXPECT_EQ(differ > 0, !of_v) << field.name;
    }
  });
}

TEST_P(RotaryEqualities, OneAngleForAPairIsTheSameTwice) {
  ForEachShape([](Shape shape) {
    FloatCall full(shape);
    shape.half_width_angles = true;
    FloatCall half(shape);
    FillAny(full);
    FillAny(half);
    for (const TensorId id : {TensorId::kCos, TensorId::kSin}) {
      for (int64_t i = 0; i < half.Elements(id); ++i) {
        const int64_t pairs = shape.rotary_dim / 2, row = i / pairs * shape.rotary_dim;
        const auto [a, b] = PairOf(full.spec, i % pairs);
        full.Copy(id, row + a, half, id, i);
        full.Copy(id, row + b, half, id, i);
      }
    }
    full.Run(GetParam());
    half.Run(GetParam());
    ExpectSameOutputs(full, half);
  });
}

// A table of 9 rows for 6 tokens, some of which have the same.
TEST_P(RotaryEqualities, TableByPositionsIsARowAToken) {
  constexpr int64_t kPositions[kTokens] = {8, 0, 3, 3, 7, 0};
  ForEachShape([&](Shape shape) {
    for (const DType integers : {DType::kI32, DType::kI64}) {
      for (const int64_t columns : {0, 1, 3}) {
        shape.index_dtype = integers;
        shape.num_positions = 0;
        shape.half_width_angles = columns == 1;
        FloatCall rows(shape);
        shape.num_positions = 9;
        FloatCall table(shape);
        if (columns > 0) {
          table.spec.positions = Dense(integers, {kTokens / columns, columns});
        }
        FillAny(rows);
        FillAny(table);
        const int64_t width = table.spec.cos.shape[1];
        for (int64_t t = 0; t < kTokens; ++t) {
          table.Set(TensorId::kPositions, t, static_cast<double>(kPositions[t]));
          for (const TensorId id : {TensorId::kCos, TensorId::kSin}) {
            for (int64_t i = 0; i < width; ++i) {
              rows.Copy(id, t * width + i, table, id, kPositions[t] * width + i);
            }
          }
        }
        rows.Run(GetParam());
        table.Run(GetParam());
        ExpectSameOutputs(rows, table);
      }
    }
  });
}

// cos in the first half of a row of one table, sin in the second.
TEST_P(RotaryEqualities, OneTableForCosAndSinIsTwo) {
  ForEachShape([](Shape shape) {
    shape.num_positions = 9;
    shape.half_width_angles = true;
    FloatCall two(shape), one(shape);
    FillAny(two);
    FillAny(one);
    for (int64_t t = 0; t < kTokens; ++t) {
      for (FloatCall* call : {&two, &one}) {
        call->Set(TensorId::kPositions, t, static_cast<double>(8 - t));
      }
    }
    const int64_t width = shape.rotary_dim / 2;
    const auto bytes = static_cast<size_t>(width * ElementBytes(two.spec.cos.dtype));
    std::vector<unsigned char> table;
    for (int64_t p = 0; p < shape.num_positions; ++p) {
      for (const TensorId id : {TensorId::kCos, TensorId::kSin}) {
        const auto row = two.bytes(id).begin() + p * static_cast<int64_t>(bytes);
        table.insert(table.end(), row, row + static_cast<int64_t>(bytes));
      }
    }
    one.spec.cos.stride = one.spec.sin.stride = {2 * width, 1};
    Args args = one.args();
    args.cos = table.data();
    args.sin = table.data() + bytes;
    one.Run(GetParam(), args);
    two.Run(GetParam());
    ExpectSameOutputs(one, two);
  });
}

// Inputs may lie over each other.
TEST_P(RotaryEqualities, CosInThePlaceOfSinIsTwoThatAreEqual) {
  ForEachShape([](Shape shape) {
    for (const bool half_width : {false, true}) {
      shape.half_width_angles = half_width;
      FloatCall two(shape), one(shape);
      FillAny(two);
      FillAny(one);
      two.bytes(TensorId::kSin) = two.bytes(TensorId::kCos);
      Args args = one.args();
      args.sin = args.cos;
      one.Run(GetParam(), args);
      two.Run(GetParam());
      ExpectSameOutputs(one, two);
    }
  });
}

TEST_P(RotaryEqualities, InterleavedIsHalfOfPermutedChannels) {
  ForEachShape([](Shape shape) {
    shape.rotary_style = RotaryStyle::kInterleaved;
    FloatCall one(shape), back(shape);
    shape.rotary_style = RotaryStyle::kHalf;
    FloatCall other(shape);
    FillAny(one);
    FillAny(other);
    const auto permute = [&](TensorId id, FloatCall& to, FloatCall& from, int64_t row_length) {
      for (int64_t row = 0; row < to.Elements(id); row += row_length) {
        for (int64_t i = 0; i < shape.rotary_dim / 2; ++i) {
          const Pair target = PairOf(to.spec, i), source = PairOf(from.spec, i);
          to.Copy(id, row + target.a, from, id, row + source.a);
          to.Copy(id, row + target.b, from, id, row + source.b);
        }
        for (int64_t i = shape.rotary_dim; i < row_length; ++i) {
          to.Copy(id, row + i, from, id, row + i);
        }
      }
    };
    permute(TensorId::kCos, other, one, shape.rotary_dim);
    permute(TensorId::kSin, other, one, shape.rotary_dim);
    for (const TensorId id :
         {TensorId::kX, TensorId::kScaleK, TensorId::kScaleV, TensorId::kWeightScale}) {
      permute(id, other, one, shape.head_dim);
    }
    one.Run(GetParam());
    other.Run(GetParam());
    EXPECT_EQ(one.bytes(TensorId::kQ) == other.bytes(TensorId::kQ), shape.rotary_dim == 2);
    for (const TensorField& field : kTensorFields) {
      if (field.output) permute(field.id, back, other, shape.head_dim);
    }
    ExpectSameOutputs(one, back);
  });
}

INSTANTIATE_TEST_SUITE_P(All, RotaryEqualities, ::testing::ValuesIn(AllComputers()),
                         [](const auto& param) { return NameOf(param.param); });

}  // namespace
}  // namespace ropekv::testing
