// SPDX-License-Identifier: Apache-2.0
// The duplicate-slot check at every size: small, hashed, and by bitmap windows.
#include "run/slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/rng.h"

namespace ropekv::testing {
namespace {

using internal::CheckSlotsDistinct;
using internal::IndexView;

// Shuffled distinct slots below `range`, with some padding.
std::vector<int32_t> DistinctSlots(Rng& rng, int64_t count, int64_t range) {
  std::vector<int32_t> slots(static_cast<size_t>(count));
  const int64_t step = range / count;
  for (int64_t i = 0; i < count; ++i) {
    slots[i] = static_cast<int32_t>(i * step + rng.Int(0, step - 1));
  }
  for (int64_t i = count - 1; i > 0; --i) std::swap(slots[i], slots[rng.Int(0, i)]);
  for (int64_t i = 0; i < count; i += 17) slots[i] = i % 2 ? -1 : INT32_MIN;
  return slots;
}

class SlotsTest : public ::testing::TestWithParam<std::tuple<int64_t, int64_t>> {};

TEST_P(SlotsTest, FindsADuplicateAnywhere) {
  const auto [count, range] = GetParam();
  Rng rng(static_cast<uint64_t>(count));
  const std::vector<int32_t> distinct = DistinctSlots(rng, count, range);
  EXPECT_TRUE(CheckSlotsDistinct({distinct.data(), 1}, 0, count).ok());
  for (int round = 0; round < 40; ++round) {
    std::vector<int32_t> slots = distinct;
    int64_t first = rng.Int(0, count - 1);
    int64_t second = rng.Int(0, count - 1);
    if (round == 0) first = 0, second = count - 1;
    if (first == second) continue;
    if (first > second) std::swap(first, second);
    const auto slot = static_cast<int32_t>(round == 1 ? range - 1 : range / 2);
    for (int32_t& value : slots) value = value == slot ? -1 : value;
    slots[first] = slots[second] = slot;
    const Status status = CheckSlotsDistinct({slots.data(), 1}, 0, count);
    ASSERT_EQ(status.message(), "indices: has slot " + std::to_string(slot) + " for both token " +
                                    std::to_string(first) + " and token " + std::to_string(second) +
                                    "; slots must be distinct");
    // Outside the pair it does not count.
    ASSERT_TRUE(CheckSlotsDistinct({slots.data(), 1}, first + 1, count).ok());
    ASSERT_TRUE(CheckSlotsDistinct({slots.data(), 1}, 0, second).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SlotsTest,
                         ::testing::Values(std::tuple(2, 2), std::tuple(3, INT32_MAX),
                                           std::tuple(16, 64), std::tuple(100, 100),
                                           std::tuple(4096, 1 << 20), std::tuple(8192, INT32_MAX),
                                           std::tuple(8193, 8193), std::tuple(65536, 1 << 20),
                                           std::tuple(20000, INT32_MAX)));

// More tokens than the hash set takes: a range of one slot, and one that ends where a window of the
// bitmap begins.
TEST(Slots, NarrowRanges) {
  constexpr int64_t kTokens = 9000;
  std::vector<int32_t> slots(kTokens, 5);
  EXPECT_EQ(CheckSlotsDistinct({slots.data(), 1}, 0, kTokens).message(),
            "indices: has slot 5 for both token 0 and token 1; slots must be distinct");
  std::fill(slots.begin(), slots.end(), -1);
  EXPECT_TRUE(CheckSlotsDistinct({slots.data(), 1}, 0, kTokens).ok());
  slots[4000] = 7;
  EXPECT_TRUE(CheckSlotsDistinct({slots.data(), 1}, 0, kTokens).ok());
  constexpr int32_t kWindow = 8 << 16;  // bits in the 64 KiB of scratch
  for (const int32_t windows : {1, 2, 4094}) {
    slots[3] = slots[8999] = 7 + windows * kWindow;
    EXPECT_FALSE(CheckSlotsDistinct({slots.data(), 1}, 0, kTokens).ok()) << windows;
    EXPECT_TRUE(CheckSlotsDistinct({slots.data(), 1}, 4, kTokens).ok()) << windows;
  }
}

TEST(Slots, Strided) {
  const int32_t slots[] = {4, 9, 5, 9, 6, 9, 5};
  EXPECT_TRUE(CheckSlotsDistinct({slots, 2}, 0, 3).ok());
  EXPECT_FALSE(CheckSlotsDistinct({slots, 2}, 0, 4).ok());
  EXPECT_FALSE(CheckSlotsDistinct({slots + 6, -2}, 0, 4).ok());
}

}  // namespace
}  // namespace ropekv::testing
