// SPDX-License-Identifier: Apache-2.0
#include "run/slots.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

namespace ropekv::internal {
namespace {

// The first entry in [begin, end) outside [low, high], or end.
int64_t FindOutside(IndexView indices, int64_t begin, int64_t end, int64_t low, int64_t high) {
  for (int64_t i = begin; i < end; ++i) {
    if (indices[i] < low || indices[i] > high) return i;
  }
  return end;
}

Status Duplicate(IndexView slots, int64_t begin, int64_t second) {
  const int64_t slot = slots[second];
  int64_t first = begin;
  while (slots[first] != slot) ++first;
  return Status(StatusCode::kBadIndex, TensorId::kIndices,
                "has slot " + std::to_string(slot) + " for both token " + std::to_string(first) +
                    " and token " + std::to_string(second) + "; slots must be distinct");
}

constexpr size_t kScratchBytes = size_t{1} << 16;

// Few tokens: an open-addressing hash set, at most half full, sized to the call. Slots are stored
// plus one, so that zero means empty.
constexpr int64_t kMaxHashed = kScratchBytes / sizeof(uint32_t) / 2;

// Spreads slots that lie at regular distances, as those of a batch may, over the upper bits. One
// multiplication alone makes them cluster at some distances: at Fibonacci numbers for this factor.
uint32_t Mix(uint32_t key) {
  key *= 0x9E3779B9u;
  key ^= key >> 15;
  return key * 0x85EBCA77u;
}

Status CheckByHash(IndexView slots, int64_t begin, int64_t end) {
  alignas(64) uint32_t table[kScratchBytes / sizeof(uint32_t)];
  const auto bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(end - begin - 1))) + 1;
  const uint32_t mask = (uint32_t{1} << bits) - 1;
  std::memset(table, 0, (size_t{mask} + 1) * sizeof(uint32_t));
  for (int64_t i = begin; i < end; ++i) {
    if (slots[i] < 0) continue;
    const uint32_t key = static_cast<uint32_t>(slots[i]) + 1;
    uint32_t at = Mix(key) >> (32 - bits);
    for (; table[at] != 0; at = (at + 1) & mask) {
      if (table[at] == key) return Duplicate(slots, begin, i);
    }
    table[at] = key;
  }
  return Status();
}

// Many tokens: a bitmap over a window of slots, moved across the range in use. One pass per window
// of half a million slots; batches this large fill their range well.
Status CheckByBitmap(IndexView slots, int64_t begin, int64_t end) {
  constexpr int64_t kWindow = kScratchBytes * 8;
  alignas(64) uint64_t bitmap[kScratchBytes / sizeof(uint64_t)];
  int64_t low = INT64_MAX;
  int64_t high = -1;
  for (int64_t i = begin; i < end; ++i) {
    if (slots[i] < 0) continue;
    low = std::min(low, slots[i]);
    high = std::max(high, slots[i]);
  }
  for (int64_t window = low; window <= high; window += kWindow) {
    std::memset(bitmap, 0, sizeof(bitmap));
    for (int64_t i = begin; i < end; ++i) {
      // Padding wraps to a huge value and falls outside.
      const uint64_t bit = static_cast<uint64_t>(slots[i]) - static_cast<uint64_t>(window);
      if (bit >= kWindow) continue;
      const uint64_t flag = uint64_t{1} << (bit % 64);
      if (bitmap[bit / 64] & flag) return Duplicate(slots, begin, i);
      bitmap[bit / 64] |= flag;
    }
  }
  return Status();
}

}  // namespace

Status CheckRange(IndexView indices, int64_t begin, int64_t end, int64_t max_index,
                  const char* what) {
  const int64_t bad = FindOutside(indices, begin, end, 0, max_index);
  if (bad == end) return Status();
  return Status(StatusCode::kBadIndex, TensorId::kIndices,
                std::string("has ") + std::to_string(indices[bad]) + " for " + what + " " +
                    std::to_string(bad) + "; must be in [0, " + std::to_string(max_index) + "]");
}

Status CheckSlotRange(IndexView slots, int64_t begin, int64_t end, int64_t num_slots) {
  const int64_t bad = FindOutside(slots, begin, end, INT32_MIN, num_slots - 1);
  if (bad == end) return Status();
  return Status(StatusCode::kBadIndex, TensorId::kIndices,
                "has slot " + std::to_string(slots[bad]) + " for token " + std::to_string(bad) +
                    "; must be negative (padding)" +
                    (num_slots > 0 ? " or in [0, " + std::to_string(num_slots - 1) + "]" : ""));
}

Status CheckSlotsDistinct(IndexView slots, int64_t begin, int64_t end) {
  if (end - begin < 2) return Status();
  return end - begin <= kMaxHashed ? CheckByHash(slots, begin, end)
                                   : CheckByBitmap(slots, begin, end);
}

}  // namespace ropekv::internal
