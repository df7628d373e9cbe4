// SPDX-License-Identifier: Apache-2.0
// The overlap check against brute force, and the layouts engines really use.
#include "plan/overlap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/rng.h"
#include "support/sampler.h"

namespace ropekv::testing {
namespace {

using internal::ElementsAreDistinct;
using internal::Footprint;
using internal::MakeFootprint;

std::set<int64_t> Bytes(const TensorSpec& tensor, int64_t address) {
  std::set<int64_t> bytes;
  ForEachElement(tensor, [&](int64_t element) {
    for (int64_t i = 0; i < ElementBytes(tensor.dtype); ++i) {
      bytes.insert(address + element * ElementBytes(tensor.dtype) + i);
    }
  });
  return bytes;
}

TensorSpec SmallTensor(Rng& rng) {
  TensorSpec tensor;
  tensor.dtype = rng.Pick({DType::kI8, DType::kF16, DType::kF32});
  tensor.rank = static_cast<int>(rng.Int(1, 3));
  for (int i = 0; i < tensor.rank; ++i) {
    tensor.shape[i] = rng.Int(0, 4) == 0 ? rng.Int(0, 1) : rng.Int(2, 4);
    tensor.stride[i] = rng.Int(-16, 16);
  }
  return tensor;
}

TEST(Overlap, NeverMissesAndFootprintIsExact) {
  Rng rng(1);
  int apart = 0;
  int shared = 0;
  int interleaved = 0;  // ranges meet, bytes do not, and the check knows
  for (int round = 0; round < 20000; ++round) {
    TensorSpec a = SmallTensor(rng);
    TensorSpec b = rng.Chance(0.5) ? a : SmallTensor(rng);
    const int64_t b_address = 4096 + 4 * rng.Int(-40, 40);
    const Footprint fa = MakeFootprint(a).value();
    const Footprint fb = MakeFootprint(b).value();
    const std::set<int64_t> bytes_a = Bytes(a, 4096);
    const std::set<int64_t> bytes_b = Bytes(b, b_address);
    ASSERT_EQ(fa.length == 0, bytes_a.empty());
    if (!bytes_a.empty()) {
      ASSERT_EQ(*bytes_a.begin(), 4096 + fa.first_byte);
      ASSERT_EQ(*bytes_a.rbegin() + 1, 4096 + fa.first_byte + fa.length);
    }
    bool truth = false;
    for (const int64_t byte : bytes_a) truth = truth || bytes_b.count(byte) > 0;
    const bool answer =
        MayOverlap(fa, reinterpret_cast<void*>(4096), fb, reinterpret_cast<void*>(b_address));
    ASSERT_TRUE(answer || !truth) << "round " << round;
    (truth ? shared : apart)++;
    const bool ranges_meet = !bytes_a.empty() && !bytes_b.empty() &&
                             *bytes_a.begin() <= *bytes_b.rbegin() &&
                             *bytes_b.begin() <= *bytes_a.rbegin();
    interleaved += !answer && ranges_meet;

    int64_t elements = 1;
    for (int i = 0; i < a.rank; ++i) elements *= a.shape[i];
    const bool distinct = static_cast<int64_t>(bytes_a.size()) == elements * ElementBytes(a.dtype);
    ASSERT_TRUE(distinct || !ElementsAreDistinct(a, fa)) << "round " << round;
  }
  EXPECT_GT(shared, 1000);
  EXPECT_GT(apart, 1000);
  EXPECT_GT(interleaved, 100);
}

bool MayShare(const TensorSpec& a, int64_t a_element, const TensorSpec& b, int64_t b_element) {
  const int64_t base = 1 << 20;
  return MayOverlap(
      MakeFootprint(a).value(), reinterpret_cast<void*>(base + a_element * ElementBytes(a.dtype)),
      MakeFootprint(b).value(), reinterpret_cast<void*>(base + b_element * ElementBytes(b.dtype)));
}

TensorSpec View(DType dtype, std::initializer_list<int64_t> shape,
                std::initializer_list<int64_t> stride) {
  TensorSpec tensor = Dense(dtype, shape);
  std::copy(stride.begin(), stride.end(), tensor.stride.begin());
  return tensor;
}

// q, k and v as parts of one [T, (8 + 2 + 2) * 64] buffer.
TEST(Overlap, PackedOutputs) {
  const TensorSpec q = View(DType::kF16, {10, 8, 64}, {768, 64, 1});
  const TensorSpec k = View(DType::kF16, {10, 2, 64}, {768, 64, 1});
  EXPECT_FALSE(MayShare(q, 0, k, 512));
  EXPECT_FALSE(MayShare(k, 640, q, 0));
  EXPECT_FALSE(MayShare(k, 512, k, 640));
  EXPECT_TRUE(MayShare(q, 0, k, 511));
  EXPECT_TRUE(MayShare(k, 512, k, 639));
}

// K and V blocks alternating in one pool [num_blocks, 2, block_size, Nkv, D].
TEST(Overlap, InterleavedPool) {
  const TensorSpec cache = View(DType::kI8, {100, 16, 2, 64}, {4096, 128, 64, 1});
  EXPECT_FALSE(MayShare(cache, 0, cache, 2048));
  EXPECT_TRUE(MayShare(cache, 0, cache, 2047));
  // The same pool with heads outside positions.
  const TensorSpec hnd = View(DType::kI8, {100, 16, 2, 64}, {4096, 64, 1024, 1});
  EXPECT_FALSE(MayShare(hnd, 0, hnd, 2048));
  EXPECT_TRUE(MayShare(hnd, 0, hnd, 1984));
}

// Two bytes of each, 7 and 8 apart: the first pair is as long as the second's period.
TEST(Overlap, AsLongAsAPeriod) {
  const TensorSpec near = View(DType::kI8, {2}, {7}), far = View(DType::kI8, {2}, {8});
  for (int64_t at = -9; at <= 8; ++at) {
    const bool shares = at == -8 || at == -1 || at == 0 || at == 7;
    EXPECT_EQ(MayShare(near, 0, far, at), shares) << at;
    EXPECT_EQ(MayShare(far, at, near, 0), shares) << at;
  }
}

}  // namespace
}  // namespace ropekv::testing
