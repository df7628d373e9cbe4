// SPDX-License-Identifier: Apache-2.0
#include "run/slots.h"

#include <string>

#include "run/duplicate_search.h"

namespace ropekv::internal {
namespace {

// The first entry in [begin, end) outside [low, high], or end.
int64_t FindOutside(IndexView indices, int64_t begin, int64_t end, int64_t low, int64_t high) {
  for (int64_t i = begin; i < end; ++i) {
    if (indices[i] < low || indices[i] > high) return i;
  }
  return end;
}

Status Duplicate(IndexView slots, int64_t begin, int64_t slot) {
  int64_t first = begin;
  while (slots[first] != slot) ++first;
  int64_t second = first + 1;
  while (slots[second] != slot) ++second;
  return Status(StatusCode::kBadIndex, TensorId::kIndices,
                "has slot " + std::to_string(slot) + " for both token " + std::to_string(first) +
                    " and token " + std::to_string(second) + "; slots must be distinct");
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
  DuplicateSearch search(slots.data + begin * slots.stride, slots.stride, end - begin);
  const auto slot = search.Run();
  return slot ? Duplicate(slots, begin, *slot) : Status();
}

}  // namespace ropekv::internal
