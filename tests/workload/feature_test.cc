// SPDX-License-Identifier: Apache-2.0
// Generated cases with what few models and engines have.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "workload/encode.h"
#include "workload/generate.h"
#include "workload/rope_table.h"

namespace ropekv::workload {
namespace {

GenerateOptions Small(const char* model = "Llama-3-70B-TP8") {
  GenerateOptions options;
  options.model = *FindModel(model);
  options.batch = 3;
  options.seq = 4;
  options.past = 20;
  options.cache = CacheLayout::kPaged;
  options.block_size = 16;
  return options;
}

void ExpectLegal(const Case& made) {
  const Result<Plan> plan = MakePlan(made.spec);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  const Status status = CheckArgs(*plan, made.args());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(Features, AllTogetherAreLegal) {
  int count = 0;
  for (const char* model : {"GLM-4-9B-Chat", "Phi-2", "gpt-oss-20B", "Llama-3-70B-TP8"}) {
    for (const DType x : {DType::kI32, DType::kF16, DType::kBF16, DType::kF32}) {
      for (const DType cache : {DType::kI8, DType::kF16, DType::kBF16, DType::kF32}) {
        GenerateOptions options = Small(model);
        options.x = x;
        options.dtype = x == DType::kI32 ? DType::kF32 : x;
        options.cache_dtype = cache;
        options.angles = ++count % 2 == 0 ? DType::kF32 : DType::kNone;
        options.positions = count % 3 != 0;
        options.packed = count % 5 < 2;
        options.half_width = count % 7 < 3;
        options.index_dtype = count % 4 < 2 ? DType::kI64 : DType::kI32;
        options.offsets = cache == DType::kI8;
        options.scales = cache == DType::kI8 ? Scales::kHead : Scales::kChannel;
        SCOPED_TRACE(::testing::Message() << model << " " << Name(x) << " " << Name(cache));
        ExpectLegal(Generate(options));
      }
    }
  }
}

// The value of element i of cos or sin.
float AngleAt(const Case& made, TensorId id, int64_t i) {
  EXPECT_EQ(made.spec.cos.dtype, DType::kF32);
  return reinterpret_cast<const float*>(made.address(id))[i];
}

// Whatever its form, a token's row of cos and sin is that of its position.
TEST(Features, EveryFormOfCosAndSinIsTheModels) {
  for (const char* name : {"GLM-4-9B-Chat", "gpt-oss-20B"}) {
    for (int form = 0; form < 8; ++form) {
      GenerateOptions options = Small(name);
      options.angles = DType::kF32;
      options.positions = form & 1;
      options.packed = form & 2;
      options.half_width = form & 4;
      options.index_dtype = form & 2 ? DType::kI64 : DType::kI32;
      const Case made = Generate(options);
      EXPECT_EQ(IsPacked(made.spec), options.packed);
      const int64_t width = options.model.rotary_dim() / (options.half_width ? 2 : 1);
      ASSERT_EQ(made.spec.cos.shape[made.spec.cos.rank - 1], width);
      const int64_t stride = width * (options.packed ? 2 : 1);
      const RopeTable table(options.model);
      std::vector<float> cos(width), sin(width);
      // The first sequence has `past` tokens.
      for (int64_t t = 0; t < options.seq; ++t) {
        const int64_t position = options.past + t;
        table.Row(position, cos, sin);
        int64_t row = t;
        if (options.positions) {
          row = IndexAt(made, TensorId::kPositions, t);
          EXPECT_EQ(row, position);
        }
        for (int64_t i = 0; i < width; ++i) {
          ASSERT_EQ(AngleAt(made, TensorId::kCos, row * stride + i), cos[i]) << name << form;
          ASSERT_EQ(AngleAt(made, TensorId::kSin, row * stride + i), sin[i]) << name << form;
        }
      }
    }
  }
}

TEST(Features, IndicesOfBothWidthsAreTheSame) {
  for (const CacheLayout cache : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
    GenerateOptions options = Small();
    options.cache = cache;
    const Case narrow = Generate(options);
    options.index_dtype = DType::kI64;
    const Case wide = Generate(options);
    ASSERT_EQ(wide[TensorId::kIndices].size(), 2 * narrow[TensorId::kIndices].size());
    for (int64_t i = 0; i < narrow.spec.indices.shape[0]; ++i) {
      EXPECT_EQ(IndexAt(wide, TensorId::kIndices, i), IndexAt(narrow, TensorId::kIndices, i));
    }
  }
}

TEST(Features, FloatCachesHoldFiniteNumbers) {
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
    GenerateOptions options = Small();
    options.cache_dtype = dtype;
    const Case made = Generate(options);
    EXPECT_FALSE(made.spec.scale_k.present());
    const Buffer& cache = made[TensorId::kKCache];
    ASSERT_EQ(cache.size(), NumElements(made.spec.k_cache) * ElementBytes(dtype));
    const uint32_t exponent = dtype == DType::kF16 ? 0x7C00 : 0x7F80;
    for (int64_t i = dtype == DType::kF32 ? 1 : 0; i < cache.size() / 2;
         i += dtype == DType::kF32 ? 2 : 1) {
      ASSERT_NE(cache.as<uint16_t>()[i] & exponent, exponent) << i;
      ASSERT_NE(cache.as<uint16_t>()[i], 0);
    }
  }
}

// The scales of two channels that turn together are alike, but for what is drawn for each.
TEST(Features, ScalesFollowTheRotation) {
  for (const char* name : {"GLM-4-9B-Chat", "Phi-2", "Llama-3-8B"}) {
    const GenerateOptions options = Small(name);
    const Case made = Generate(options);
    const int64_t width = options.model.head_dim, half = options.model.rotary_dim() / 2;
    const bool interleaved = options.model.rotation.style == RotaryStyle::kInterleaved;
    const float* const scale = made[TensorId::kScaleK].as<float>();
    int apart = 0;  // of the heads' other channels
    for (int64_t head = 0; head < options.model.kv_heads; ++head) {
      const float* const channel = scale + head * width;
      for (int64_t i = 0; i < half; ++i) {
        const float ratio =
            interleaved ? channel[2 * i] / channel[2 * i + 1] : channel[i] / channel[i + half];
        EXPECT_GT(ratio, 0.9f / 1.1f) << name << " " << head << " " << i;
        EXPECT_LT(ratio, 1.1f / 0.9f) << name << " " << head << " " << i;
      }
      for (int64_t i = 2 * half; i + 1 < width; ++i) {
        const float ratio = channel[i] / channel[i + 1];
        apart += ratio < 0.5f || ratio > 2 ? 1 : 0;
      }
    }
    EXPECT_EQ(apart > 0, 2 * half < width) << name;
  }
}

// As with a scale for each channel, int8 values fill their range.
TEST(Features, SharedScalesFitTheirChannels) {
  for (const Scales scales : {Scales::kHead, Scales::kTensor}) {
    GenerateOptions options = Small("GLM-4-9B-Chat");
    options.scales = scales;
    options.offsets = true;
    options.seq = 40;
    const Case made = Generate(options);
    EXPECT_EQ(NumElements(made.spec.scale_k), scales == Scales::kHead ? 2 : 1);
    EXPECT_EQ(NumElements(made.spec.offset_v), NumElements(made.spec.scale_v));
    const int64_t heads = options.model.kv_heads, dim = options.model.head_dim;
    const int64_t hidden = options.model.hidden();
    double square = 0, saturated = 0, count = 0;
    for (int64_t t = 0; t < options.batch * options.seq; ++t) {
      for (int64_t c = 0; c < heads * dim; ++c) {
        const uint32_t bits = made[TensorId::kX].as<uint16_t>()[(t + 1) * hidden - heads * dim + c];
        float value = 0;
        const uint32_t wide = bits << 16;
        std::memcpy(&value, &wide, sizeof value);
        const float scale =
            made[TensorId::kScaleV].as<float>()[scales == Scales::kHead ? c / dim : 0];
        const double level = static_cast<double>(value / scale);
        square += std::min(level * level, 127.0 * 127.0);
        saturated += std::abs(level) > 127 ? 1 : 0;
        ++count;
      }
    }
    EXPECT_GT(std::sqrt(square / count), 15);
    EXPECT_LT(std::sqrt(square / count), 80);
    EXPECT_GT(saturated / count, 0.001);
    EXPECT_LT(saturated / count, 0.06);
  }
}

}  // namespace
}  // namespace ropekv::workload
