// SPDX-License-Identifier: Apache-2.0
// The duplicate-slot check at every size and for slots of every pattern.
#include "run/slots.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "run/duplicate_search.h"
#include "support/rng.h"
#include "support/share.h"

namespace ropekv::testing {
namespace {

using internal::DuplicateSearch;
using internal::Indices;

Status CheckSlotsDistinct(const std::vector<int32_t>& slots, int64_t begin, int64_t end) {
  const TensorSpec spec = Dense(DType::kI32, {static_cast<int64_t>(slots.size())});
  return internal::CheckSlotsDistinct({TensorId::kIndices, spec, slots.data()}, begin, end);
}

template <class T>
DuplicateSearch<T> SearchOf(const std::vector<T>& slots) {
  return {Indices<T>{slots.data(), 1}, 0, static_cast<int64_t>(slots.size())};
}

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
  EXPECT_TRUE(CheckSlotsDistinct(distinct, 0, count).ok());
  for (int64_t round = 0; round < Share(40, 2); ++round) {
    std::vector<int32_t> slots = distinct;
    int64_t first = rng.Int(0, count - 1);
    int64_t second = rng.Int(0, count - 1);
    if (round == 0) first = 0, second = count - 1;
    if (first == second) continue;
    if (first > second) std::swap(first, second);
    const auto slot = static_cast<int32_t>(round == 1 ? range - 1 : range / 2);
    for (int32_t& value : slots) value = value == slot ? -1 : value;
    slots[first] = slots[second] = slot;
    const Status status = CheckSlotsDistinct(slots, 0, count);
    ASSERT_EQ(status.message(), "indices: has slot " + std::to_string(slot) + " for both token " +
                                    std::to_string(first) + " and token " + std::to_string(second) +
                                    "; slots must be distinct");
    // Outside the pair it does not count.
    ASSERT_TRUE(CheckSlotsDistinct(slots, first + 1, count).ok());
    ASSERT_TRUE(CheckSlotsDistinct(slots, 0, second).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SlotsTest,
                         ::testing::Values(std::tuple(2, 2), std::tuple(3, INT32_MAX),
                                           std::tuple(16, 64), std::tuple(100, 100),
                                           std::tuple(4096, 1 << 20), std::tuple(8192, INT32_MAX),
                                           std::tuple(8193, 8193), std::tuple(65536, 1 << 20),
                                           std::tuple(20000, INT32_MAX)));

TEST(Slots, OneSlotOrNone) {
  for (const int64_t tokens : {2, 70, 9000}) {
    std::vector<int32_t> slots(static_cast<size_t>(tokens), 5);
    EXPECT_EQ(CheckSlotsDistinct(slots, 0, tokens).message(),
              "indices: has slot 5 for both token 0 and token 1; slots must be distinct");
    std::fill(slots.begin(), slots.end(), -1);
    EXPECT_TRUE(CheckSlotsDistinct(slots, 0, tokens).ok());
    slots.back() = 7;
    EXPECT_TRUE(CheckSlotsDistinct(slots, 0, tokens).ok());
    slots.front() = 7;
    EXPECT_FALSE(CheckSlotsDistinct(slots, 0, tokens).ok());
  }
}

// Slots whose products with the hash's factor for 17 bits are neighbours, so that two share each
// cell, however many of their low bits are looked at.
int32_t Crowded(int64_t i) {
  const uint32_t factor = (0x9E3779B9u >> 15) | 1;
  uint32_t inverse = factor;
  for (int round = 0; round < 5; ++round) inverse *= 2 - factor * inverse;
  return static_cast<int32_t>((static_cast<uint32_t>(i) * inverse & 0x1FFFF) << 14);
}

struct Pattern {
  const char* name;
  int32_t (*slot)(int64_t i);
};

constexpr Pattern kPatterns[] = {
    {"sequence", [](int64_t i) { return static_cast<int32_t>(i); }},
    {"same low bits", [](int64_t i) { return static_cast<int32_t>(i * 4096); }},
    {"same low bits but for one", [](int64_t i) { return static_cast<int32_t>(i * 4096 + !i); }},
    {"Fibonacci number", [](int64_t i) { return static_cast<int32_t>(i * 1597); }},
    {"two ends", [](int64_t i) { return static_cast<int32_t>((i % 2 << 30) + i * 16); }},
    {"scattered", [](int64_t i) { return static_cast<int32_t>(i * 0x61C88647 & INT32_MAX); }},
    {"crowded", Crowded},
    {"crowded but for one", [](int64_t i) { return Crowded(i) + (i == 77); }},
};

// What the search costs: a scan is a reading of all tokens.
TEST(Slots, NoPatternNeedsManyScans) {
  for (const Pattern& pattern : kPatterns) {
    for (const int64_t tokens : {2, 300, 8192, 8193, 20000, 131072}) {
      SCOPED_TRACE(std::string(pattern.name) + ", " + std::to_string(tokens));
      std::vector<int32_t> slots;
      for (int64_t i = 0; i < tokens; ++i) slots.push_back(pattern.slot(i));
      auto distinct = SearchOf(slots);
      EXPECT_EQ(distinct.Run(), std::nullopt);
      EXPECT_LE(distinct.scans(), 32 + tokens / 2048);

      slots[slots.size() / 3] = slots.back();
      auto search = SearchOf(slots);
      EXPECT_EQ(search.Run(), slots.back());
      EXPECT_LE(search.scans(), 32 + tokens / 2048);
    }
  }
}

TEST(Slots, SlotsOf64Bits) {
  for (const int64_t tokens : {2, 300, 20000}) {
    std::vector<int64_t> slots;
    for (int64_t i = 0; i < tokens; ++i) slots.push_back(i << 40 | 12345);
    slots[0] = INT64_MAX;
    EXPECT_EQ(SearchOf(slots).Run(), std::nullopt);
    slots[slots.size() / 2] = INT64_MIN;
    EXPECT_EQ(SearchOf(slots).Run(), std::nullopt);
    slots.back() = slots[0];
    EXPECT_EQ(SearchOf(slots).Run(), INT64_MAX);
  }
}

// The stack that the check may use of the 32 KiB a call may. Beyond it is a page that faults.
TEST(Slots, SmallStack) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  // On aarch64 no thread may have less than 128 KiB.
  const size_t least = std::max<size_t>(48 << 10, sysconf(_SC_THREAD_STACK_MIN));
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, least), 0);
  bool distinct = false;
  const auto check = [](void* result) -> void* {
    std::vector<int32_t> slots(20000);
    std::iota(slots.begin(), slots.end(), 0);
    slots[0] = INT32_MAX;
    *static_cast<bool*>(result) = CheckSlotsDistinct(slots, 0, 20000).ok();
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, check, &distinct), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
  EXPECT_TRUE(distinct);
}

TEST(Slots, Strided) {
  const int32_t slots[] = {4, 9, 5, 9, 6, 9, 5};
  const auto distinct = [](const int32_t* data, int64_t stride, int64_t count) {
    TensorSpec spec = Dense(DType::kI32, {count});
    spec.stride[0] = stride;
    return internal::CheckSlotsDistinct({TensorId::kIndices, spec, data}, 0, count).ok();
  };
  EXPECT_TRUE(distinct(slots, 2, 3));
  EXPECT_FALSE(distinct(slots, 2, 4));
  EXPECT_FALSE(distinct(slots + 6, -2, 4));
}

// Rows with a gap that has slots of its own, and transposed ones.
TEST(Slots, TwoDimensions) {
  std::vector<int64_t> slots;
  for (int64_t i = 0; i < 200; ++i) slots.push_back(i % 100);
  TensorSpec spec = Dense(DType::kI64, {20, 5});
  spec.stride = {10, 1, 0, 0};  // each row's second half repeats nothing of the first
  const internal::IndexTensor rows = {TensorId::kIndices, spec, slots.data()};
  EXPECT_TRUE(internal::CheckSlotsDistinct(rows, 0, 50).ok());
  EXPECT_EQ(internal::CheckSlotsDistinct(rows, 0, 51).message(),
            "indices: has slot 0 for both token 0 and token 50; slots must be distinct");
  EXPECT_TRUE(internal::CheckSlotsDistinct(rows, 1, 51).ok());
  spec.stride = {1, 19, 0, 0};
  EXPECT_TRUE(internal::CheckSlotsDistinct(rows, 0, 95).ok());
  EXPECT_EQ(internal::CheckSlotsDistinct(rows, 0, 96).message(),
            "indices: has slot 19 for both token 1 and token 95; slots must be distinct");
}

}  // namespace
}  // namespace ropekv::testing
