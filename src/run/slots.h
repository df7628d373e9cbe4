// SPDX-License-Identifier: Apache-2.0
// Checks of `indices`: data, so not plannable.
#ifndef ROPEKV_RUN_SLOTS_H_
#define ROPEKV_RUN_SLOTS_H_

#include <cstdint>

#include "ropekv/types.h"

namespace ropekv::internal {

// A strided view of `indices`.
struct IndexView {
  const int32_t* data;
  int64_t stride;
  int64_t operator[](int64_t i) const { return data[i * stride]; }
};

// Every entry [begin, end) in [0, max_index]; `what` says what one entry belongs to.
Status CheckRange(IndexView indices, int64_t begin, int64_t end, int64_t max_index,
                  const char* what);

// Every entry [begin, end) negative (padding) or in [0, num_slots).
Status CheckSlotRange(IndexView slots, int64_t begin, int64_t end, int64_t num_slots);

// No slot twice among the entries [begin, end) that are not padding; they have passed
// CheckSlotRange. Takes 17 KiB of stack and no other memory.
Status CheckSlotsDistinct(IndexView slots, int64_t begin, int64_t end);

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_SLOTS_H_
