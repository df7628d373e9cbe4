// SPDX-License-Identifier: Apache-2.0
#include "run/slots.h"

#include <cstdint>
#include <limits>
#include <string>

#include "run/duplicate_search.h"
#include "run/indices.h"

namespace ropekv::internal {
namespace {

// The first entry in [begin, end) outside [low, high], or end.
template <class T>
int64_t FindOutside(const Indices<T>& indices, int64_t begin, int64_t end, int64_t low,
                    int64_t high) {
  for (int64_t i = begin; i < end; ++i) {
    if (indices[i] < low || indices[i] > high) return i;
  }
  return end;
}

template <class T>
Status Duplicate(const Indices<T>& slots, int64_t begin, T slot) {
  int64_t first = begin;
  while (slots[first] != slot) ++first;
  int64_t second = first + 1;
  while (slots[second] != slot) ++second;
  return Status(StatusCode::kBadIndex, TensorId::kIndices,
                "has slot " + std::to_string(slot) + " for both token " + std::to_string(first) +
                    " and token " + std::to_string(second) + "; slots must be distinct");
}

}  // namespace

Status CheckRange(const IndexTensor& tensor, int64_t begin, int64_t end, int64_t max_index,
                  const char* what) {
  return WithIndices(tensor.spec, tensor.data, [&](const auto& indices) {
    const int64_t bad = FindOutside(indices, begin, end, 0, max_index);
    if (bad == end) return Status();
    const std::string legal =
        max_index < 0 ? "there is none" : "must be in [0, " + std::to_string(max_index) + "]";
    return Status(StatusCode::kBadIndex, tensor.id,
                  std::string("has ") + std::to_string(indices[bad]) + " for " + what + " " +
                      std::to_string(bad) + "; " + legal);
  });
}

Status CheckSlotRange(const IndexTensor& tensor, int64_t begin, int64_t end, int64_t num_slots) {
  return WithIndices(tensor.spec, tensor.data, [&](const auto& slots) {
    const int64_t bad =
        FindOutside(slots, begin, end, std::numeric_limits<int64_t>::min(), num_slots - 1);
    if (bad == end) return Status();
    return Status(StatusCode::kBadIndex, tensor.id,
                  "has slot " + std::to_string(slots[bad]) + " for token " + std::to_string(bad) +
                      "; must be negative (padding)" +
                      (num_slots > 0 ? " or in [0, " + std::to_string(num_slots - 1) + "]" : ""));
  });
}

Status CheckSlotsDistinct(const IndexTensor& tensor, int64_t begin, int64_t end) {
  if (end - begin < 2) return Status();
  return WithIndices(tensor.spec, tensor.data, [&](const auto& slots) {
    DuplicateSearch search(slots, begin, end - begin);
    const auto slot = search.Run();
    return slot ? Duplicate(slots, begin, *slot) : Status();
  });
}

}  // namespace ropekv::internal
