// SPDX-License-Identifier: Apache-2.0
#include "workload/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <vector>

#include "workload/encode.h"

namespace ropekv::workload {
namespace {

GenerateOptions Small() {
  GenerateOptions options;
  options.model = *FindModel("Llama-3-70B-TP8");
  options.batch = 4;
  options.seq = 24;
  options.past = 50;
  options.x = DType::kI32;
  options.cache = CacheLayout::kPaged;
  options.block_size = 16;
  options.bias = DType::kF32;
  options.offsets = true;
  options.kv_output = true;
  return options;
}

bool SameBytes(const Buffer& a, const Buffer& b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

// FNV-1a over the tensors made without a maths library, which is all but cos and sin.
uint64_t Fingerprint(const Case& made) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const TensorField& field : kTensorFields) {
    if (field.id == TensorId::kCos || field.id == TensorId::kSin) continue;
    const Buffer& buffer = made[field.id];
    for (int64_t i = 0; i < buffer.size(); ++i) {
      hash = (hash ^ static_cast<uint64_t>(buffer.data()[i])) * 0x100000001B3u;
    }
  }
  return hash;
}

TEST(Generate, GivesTheSameBytesEverywhere) {
  EXPECT_EQ(Fingerprint(Generate(Small())), 10087967365594839893u);
}

TEST(Generate, DependsOnTheSeed) {
  GenerateOptions options = Small();
  const Case first = Generate(options);
  const Case again = Generate(options);
  options.seed = 1;
  const Case other = Generate(options);
  for (const TensorField& field : kTensorFields) {
    EXPECT_TRUE(SameBytes(first[field.id], again[field.id])) << field.name;
    if ((first.spec.*field.spec).present() && (field.input || IsCache(field.id))) {
      EXPECT_FALSE(SameBytes(first[field.id], other[field.id])) << field.name;
    }
  }
}

TEST(Generate, AnOptionChangesOnlyItsTensors) {
  GenerateOptions options = Small();
  const Case paged = Generate(options);
  options.cache = CacheLayout::kContiguous;
  options.offsets = false;
  const Case contiguous = Generate(options);
  for (TensorId id : {TensorId::kX, TensorId::kCos, TensorId::kBias, TensorId::kScaleK}) {
    EXPECT_TRUE(SameBytes(paged[id], contiguous[id])) << kTensorFields[static_cast<int>(id)].name;
  }
  EXPECT_EQ(contiguous[TensorId::kOffsetK].size(), 0);
}

// The combinations of x, cos and bias that the operator takes.
std::vector<GenerateOptions> DTypeCombinations(const GenerateOptions& base) {
  std::vector<GenerateOptions> all;
  const DType biases[] = {DType::kNone, DType::kF32, DType::kF16, DType::kBF16, DType::kI32};
  for (DType x : {DType::kI32, DType::kF16, DType::kBF16}) {
    for (DType dtype : {DType::kF16, DType::kBF16}) {
      if (x != DType::kI32 && x != dtype) continue;
      for (DType bias : biases) {
        all.push_back(base);
        all.back().x = x;
        all.back().dtype = dtype;
        all.back().bias = bias;
      }
    }
  }
  return all;
}

TEST(Generate, EveryVariantOfEveryModelIsLegal) {
  int64_t kinds = 0;
  for (const Model& model : Models()) {
    GenerateOptions base;
    base.model = model;
    base.batch = 2;
    base.seq = 3;
    base.past = 5;
    base.block_size = 4;
    for (GenerateOptions& options : DTypeCombinations(base)) {
      for (CacheLayout cache : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
        options.cache = cache;
        options.offsets = kinds % 2 == 0;
        options.kv_output = kinds % 3 == 0;
        ++kinds;
        const Case made = Generate(options);
        const Result<Plan> plan = MakePlan(made.spec);
        ASSERT_TRUE(plan.ok()) << model.name << ": " << plan.status().message();
        const Status status = CheckArgs(*plan, made.args());
        ASSERT_TRUE(status.ok()) << model.name << ": " << status.message();
        EXPECT_EQ(made.spec.x.dtype, options.x);
        EXPECT_EQ(made.spec.q.dtype, options.dtype);
        EXPECT_EQ(made.spec.q.shape[2], model.q_heads);
        EXPECT_EQ(made.spec.bias.dtype, options.bias);
        EXPECT_EQ(made.spec.offset_k.present(), options.offsets);
        EXPECT_EQ(made.spec.k.present(), options.kv_output);
      }
    }
  }
}

TEST(Generate, TakesNoTokens) {
  for (CacheLayout cache : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
    GenerateOptions options = Small();
    options.cache = cache;
    options.seq = 0;
    options.past = 0;
    const Case made = Generate(options);
    const Result<Plan> plan = MakePlan(made.spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan->num_tokens(), 0);
    EXPECT_TRUE(CheckArgs(*plan, made.args()).ok());
    EXPECT_GT(made[TensorId::kKCache].size(), 0);
  }
}

TEST(Generate, PagedSlotsAreShuffledAndPadded) {
  const Case made = Generate(Small());
  const int32_t* slots = made[TensorId::kIndices].as<int32_t>();
  const int64_t tokens = made.spec.indices.shape[0];
  std::set<int32_t> distinct;
  int64_t padding = 0, jumps = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    if (slots[t] < 0) {
      ++padding;
    } else {
      EXPECT_TRUE(distinct.insert(slots[t]).second) << slots[t];
    }
    jumps += t > 0 && slots[t] >= 0 && slots[t - 1] >= 0 && slots[t] != slots[t - 1] + 1 ? 1 : 0;
  }
  EXPECT_GT(padding, 0);
  EXPECT_LT(padding, tokens / 4);
  EXPECT_GT(jumps, 2);
}

TEST(Generate, DecodeBatchesArePadded) {
  GenerateOptions options = Small();
  options.batch = 32;
  options.seq = 1;
  const Case made = Generate(options);
  const int32_t* slots = made[TensorId::kIndices].as<int32_t>();
  EXPECT_EQ(std::count_if(slots, slots + 32, [](int32_t slot) { return slot < 0; }), 4);
}

TEST(Generate, RowsStartWhereTheirRotationSays) {
  GenerateOptions options = Small();
  options.cache = CacheLayout::kContiguous;
  const Case made = Generate(options);
  const int32_t* starts = made[TensorId::kIndices].as<int32_t>();
  const uint16_t* cos = made[TensorId::kCos].as<uint16_t>();
  EXPECT_EQ(starts[0], 50);
  EXPECT_GT(std::set<int32_t>(starts, starts + 4).size(), 1u);
  for (int64_t b = 0; b < 4; ++b) {
    EXPECT_GE(starts[b], 25);
    EXPECT_LE(starts[b], 50);
    // The frequency of the first channel is one radian a token.
    for (int64_t s = 0; s < options.seq; ++s) {
      const float expected = static_cast<float>(std::cos(static_cast<double>(starts[b] + s)));
      EXPECT_EQ(cos[(b * options.seq + s) * 128], ToBF16(expected));
    }
  }
}

// The int8 values that the call writes to the caches of `options`, K's and V's.
std::vector<int8_t> WrittenValues(const GenerateOptions& options) {
  const Case made = Generate(options);
  const Result<Plan> plan = MakePlan(made.spec);
  EXPECT_TRUE(plan.ok());
  EXPECT_TRUE(RunReference(*plan, made.args()).ok());
  const int64_t row = options.model.kv_heads * options.model.head_dim;
  const int32_t* slots = made[TensorId::kIndices].as<int32_t>();
  std::vector<int8_t> values;
  for (int64_t t = 0; t < made.spec.indices.shape[0]; ++t) {
    if (slots[t] < 0) continue;
    for (TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
      const int8_t* begin = made[id].as<int8_t>() + slots[t] * row;
      values.insert(values.end(), begin, begin + row);
    }
  }
  return values;
}

TEST(Generate, Int8ValuesSpreadAndSometimesSaturate) {
  for (GenerateOptions& options : DTypeCombinations(Small())) {
    const std::vector<int8_t> values = WrittenValues(options);
    ASSERT_FALSE(values.empty());
    double square = 0, saturated = 0;
    for (int8_t value : values) {
      square += value * value;
      saturated += value == 127 || value == -128 ? 1 : 0;
    }
    const double count = static_cast<double>(values.size());
    EXPECT_GT(std::sqrt(square / count), 25) << Name(options.x) << " " << Name(options.bias);
    EXPECT_LT(std::sqrt(square / count), 80) << Name(options.x) << " " << Name(options.bias);
    EXPECT_GT(saturated / count, 0.001) << Name(options.x) << " " << Name(options.bias);
    EXPECT_LT(saturated / count, 0.05) << Name(options.x) << " " << Name(options.bias);
  }
}

TEST(Generate, CachesHoldNoZero) {
  const Case made = Generate(Small());
  const Buffer& cache = made[TensorId::kVCache];
  EXPECT_EQ(std::count(cache.data(), cache.data() + cache.size(), std::byte{0}), 0);
}

TEST(Case, CloneOutputsCopiesCachesAndPoisonsTheRest) {
  const Case made = Generate(Small());
  const Buffers clone = CloneOutputs(made, 0x5A);
  const Args args = WithOutputs(made.args(), clone);
  EXPECT_EQ(args.x, made.args().x);
  EXPECT_NE(args.k_cache, made.args().k_cache);
  EXPECT_TRUE(SameBytes(clone[static_cast<int>(TensorId::kKCache)], made[TensorId::kKCache]));
  const auto* q = static_cast<const uint8_t*>(args.q);
  EXPECT_EQ(std::count(q, q + made[TensorId::kQ].size(), 0x5A), made[TensorId::kQ].size());
  EXPECT_EQ(*made[TensorId::kQ].as<uint8_t>(), 0xA5);
}

}  // namespace
}  // namespace ropekv::workload
