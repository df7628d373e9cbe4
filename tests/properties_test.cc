// SPDX-License-Identifier: Apache-2.0
// Truths about the operator that need no second implementation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <vector>

#include "ropekv/ropekv.h"

namespace ropekv::testing {
namespace {

constexpr int64_t kBatch = 3, kSeq = 5, kTokens = 15, kQ = 4, kKV = 2, kDim = 48;
constexpr int64_t kHidden = (kQ + 2 * kKV) * kDim;
constexpr int64_t kLength = 8;

// bf16 x with distinct small values, q, k, v and caches of its own.
struct Call {
  Spec spec;
  std::vector<uint16_t> x = std::vector<uint16_t>(kTokens * kHidden);
  std::vector<uint16_t> cos = std::vector<uint16_t>(kTokens * kDim);
  std::vector<uint16_t> sin = cos;
  std::vector<float> scale = std::vector<float>(kKV * kDim, 0.01f);
  std::vector<int32_t> indices;
  std::vector<uint16_t> q = std::vector<uint16_t>(kTokens * kQ * kDim);
  std::vector<uint16_t> k = std::vector<uint16_t>(kTokens * kKV * kDim);
  std::vector<uint16_t> v = k;
  std::vector<int8_t> k_cache = std::vector<int8_t>(kBatch * kLength * kKV * kDim, 77);
  std::vector<int8_t> v_cache = k_cache;

  Call(CacheLayout layout, std::vector<int32_t> where) : indices(std::move(where)) {
    spec = DenseSpec({.batch = kBatch,
                      .seq_len = kSeq,
                      .num_q_heads = kQ,
                      .num_kv_heads = kKV,
                      .head_dim = kDim,
                      .cache_layout = layout,
                      .cache_shape = {kBatch, kLength},
                      .kv_output = true});
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint16_t>(0x3F00 + i * 37 % 200);
    for (size_t i = 0; i < cos.size(); ++i) cos[i] = static_cast<uint16_t>(0x3E00 + i * 11 % 300);
    for (size_t i = 0; i < sin.size(); ++i) sin[i] = static_cast<uint16_t>(0xBE00 + i * 7 % 300);
  }

  void Run() {
    Args args;
    args.x = x.data();
    args.cos = cos.data();
    args.sin = sin.data();
    args.scale_k = args.scale_v = scale.data();
    args.indices = indices.data();
    args.q = q.data();
    args.k = k.data();
    args.v = v.data();
    args.k_cache = k_cache.data();
    args.v_cache = v_cache.data();
    const Result<Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    const Status status = ropekv::Run(*plan, args);
    ASSERT_TRUE(status.ok()) << status.message();
  }
};

std::vector<int32_t> Count(int64_t n) {
  std::vector<int32_t> slots(static_cast<size_t>(n));
  std::iota(slots.begin(), slots.end(), 0);
  return slots;
}

TEST(Properties, RotationByZeroIsSplit) {
  Call call(CacheLayout::kPaged, Count(kTokens));
  for (uint16_t& value : call.cos) value = 0x3F80;  // 1
  for (uint16_t& value : call.sin) value = 0;
  call.Run();
  for (int64_t t = 0; t < kTokens; ++t) {
    const uint16_t* row = call.x.data() + t * kHidden;
    EXPECT_EQ(std::memcmp(&call.q[t * kQ * kDim], row, 2 * kQ * kDim), 0);
    EXPECT_EQ(std::memcmp(&call.k[t * kKV * kDim], row + kQ * kDim, 2 * kKV * kDim), 0);
    EXPECT_EQ(std::memcmp(&call.v[t * kKV * kDim], row + (kQ + kKV) * kDim, 2 * kKV * kDim), 0);
  }
}

TEST(Properties, QuarterTurnSwapsHalves) {
  Call call(CacheLayout::kPaged, Count(kTokens));
  for (uint16_t& value : call.cos) value = 0;
  for (uint16_t& value : call.sin) value = 0x3F80;
  call.Run();
  for (int64_t i = 0; i < kDim / 2; ++i) {
    EXPECT_EQ(call.q[i], call.x[i + kDim / 2] ^ 0x8000);
    EXPECT_EQ(call.q[i + kDim / 2], call.x[i]);
  }
}

TEST(Properties, PagedWithTheSameSlotsIsContiguous) {
  const std::vector<int32_t> starts = {0, 3, 1};
  std::vector<int32_t> slots;
  for (int32_t b = 0; b < kBatch; ++b) {
    for (int32_t s = 0; s < kSeq; ++s)
      slots.push_back(b * static_cast<int32_t>(kLength) + starts[b] + s);
  }
  Call contiguous(CacheLayout::kContiguous, starts);
  Call paged(CacheLayout::kPaged, slots);
  contiguous.Run();
  paged.Run();
  EXPECT_EQ(contiguous.k_cache, paged.k_cache);
  EXPECT_EQ(contiguous.v_cache, paged.v_cache);
  EXPECT_EQ(contiguous.q, paged.q);
  // Rows that no token names keep their bytes; the others hold something else.
  for (int64_t row = 0; row < kBatch * kLength; ++row) {
    const bool named = std::count(slots.begin(), slots.end(), row) > 0;
    const int8_t* bytes = &paged.k_cache[row * kKV * kDim];
    EXPECT_EQ(std::count(bytes, bytes + kKV * kDim, 77) == kKV * kDim, !named) << row;
  }
}

TEST(Properties, PaddingSkipsTheCacheOnly) {
  Call all(CacheLayout::kPaged, Count(kTokens));
  Call padded(CacheLayout::kPaged, Count(kTokens));
  padded.indices[4] = -1;
  padded.indices[9] = INT32_MIN;
  all.Run();
  padded.Run();
  EXPECT_EQ(all.q, padded.q);
  EXPECT_EQ(all.k, padded.k);
  EXPECT_EQ(all.v, padded.v);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t i = t * kKV * kDim; i < (t + 1) * kKV * kDim; ++i) {
      const bool skipped = t == 4 || t == 9;
      ASSERT_EQ(padded.k_cache[i], skipped ? 77 : all.k_cache[i]);
      ASSERT_EQ(padded.v_cache[i], skipped ? 77 : all.v_cache[i]);
    }
  }
}

// K and V blocks alternate in one pool, q, k and v share one packed buffer.
TEST(Properties, InterleavedOutputs) {
  Call apart(CacheLayout::kPaged, Count(kTokens));
  apart.Run();

  Call packed(CacheLayout::kPaged, Count(kTokens));
  constexpr int64_t kBlock = kLength * kKV * kDim;
  std::vector<int8_t> pool(2 * kBatch * kBlock, 77);
  std::vector<uint16_t> qkv(kTokens * kHidden);
  packed.spec.k_cache.stride[0] = packed.spec.v_cache.stride[0] = 2 * kBlock;
  for (TensorSpec* output : {&packed.spec.q, &packed.spec.k, &packed.spec.v}) {
    output->stride[0] = kSeq * kHidden;
    output->stride[1] = kHidden;
  }
  Args args;
  args.x = packed.x.data();
  args.cos = packed.cos.data();
  args.sin = packed.sin.data();
  args.scale_k = args.scale_v = packed.scale.data();
  args.indices = packed.indices.data();
  args.q = qkv.data();
  args.k = qkv.data() + kQ * kDim;
  args.v = qkv.data() + (kQ + kKV) * kDim;
  args.k_cache = pool.data();
  args.v_cache = pool.data() + kBlock;
  const Result<Plan> plan = MakePlan(packed.spec);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  const Status status = ropekv::Run(*plan, args);
  ASSERT_TRUE(status.ok()) << status.message();
  for (int64_t b = 0; b < kBatch; ++b) {
    EXPECT_EQ(std::memcmp(&pool[2 * b * kBlock], &apart.k_cache[b * kBlock], kBlock), 0);
    EXPECT_EQ(std::memcmp(&pool[(2 * b + 1) * kBlock], &apart.v_cache[b * kBlock], kBlock), 0);
  }
  for (int64_t t = 0; t < kTokens; ++t) {
    const uint16_t* row = &qkv[t * kHidden];
    EXPECT_EQ(std::memcmp(row, &apart.q[t * kQ * kDim], 2 * kQ * kDim), 0);
    EXPECT_EQ(std::memcmp(row + kQ * kDim, &apart.k[t * kKV * kDim], 2 * kKV * kDim), 0);
  }
}

}  // namespace
}  // namespace ropekv::testing
