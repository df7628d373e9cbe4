// SPDX-License-Identifier: Apache-2.0
// Checks of `indices` and `positions`: data, so not plannable.
#ifndef ROPEKV_RUN_SLOTS_H_
#define ROPEKV_RUN_SLOTS_H_

#include <cstdint>

#include "ropekv/types.h"

namespace ropekv::internal {

// A tensor of indices and its data.
struct IndexTensor {
  TensorId id;
  const TensorSpec& spec;
  const void* data;
};

// Every entry [begin, end) in [0, max_index]; `what` says what one entry belongs to.
Status CheckRange(const IndexTensor& indices, int64_t begin, int64_t end, int64_t max_index,
                  const char* what);

// Every entry [begin, end) negative (padding) or in [0, num_slots).
Status CheckSlotRange(const IndexTensor& slots, int64_t begin, int64_t end, int64_t num_slots);

// No slot twice among the entries [begin, end) that are not padding; they have passed
// CheckSlotRange. Takes 17 KiB of stack and no other memory.
Status CheckSlotsDistinct(const IndexTensor& slots, int64_t begin, int64_t end);

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_SLOTS_H_
