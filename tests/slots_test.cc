// SPDX-License-Identifier: Apache-2.0
// The duplicate-slot check at every size: small, hashed, and by bitmap windows.
#include "run/slots.h"

#include <gtest/gtest.h>

#include <numeric>
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
                                    std::to_string(first) + " and token " +
                                    std::to_string(second) + "; slots must be distinct");
    // Outside the pair it does not count.
    ASSERT_TRUE(CheckSlotsDistinct({slots.data(), 1}, first + 1, count).ok());
    ASSERT_TRUE(CheckSlotsDistinct({slots.data(), 1}, 0, second).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, SlotsTest,
    ::testing::Values(std::tuple(2, 2), std::tuple(3, INT32_MAX), std::tuple(16, 64),
                      std::tuple(100, 100), std::tuple(4096, 1 << 20), std::tuple(8192, INT32_MAX),
                      std::tuple(8193, 8193), std::tuple(65536, 1 << 20),
                      std::tuple(20000, INT32_MAX)));

TEST(Slots, Strided) {
  const int32_t slots[] = {4, 9, 5, 9, 6, 9, 5};
  EXPECT_TRUE(CheckSlotsDistinct({slots, 2}, 0, 3).ok());
  EXPECT_FALSE(CheckSlotsDistinct({slots, 2}, 0, 4).ok());
  EXPECT_FALSE(CheckSlotsDistinct({slots + 6, -2}, 0, 4).ok());
}

}  // namespace
}  // namespace ropekv::testing
