// SPDX-License-Identifier: Apache-2.0
// The bytes a strided tensor touches, and whether two tensors share any.
#ifndef ROPEKV_PLAN_OVERLAP_H_
#define ROPEKV_PLAN_OVERLAP_H_

#include <array>
#include <cstdint>
#include <optional>

#include "ropekv/types.h"

namespace ropekv::internal {

struct Footprint {
  struct Dim {
    int64_t extent;        // > 1
    int64_t stride_bytes;  // > 0
  };
  int64_t first_byte = 0;  // of the lowest byte, relative to the address of element [0, 0, ...]
  int64_t length = 0;      // up to the highest byte; 0: the tensor has no elements
  int64_t element_bytes = 0;
  std::array<Dim, TensorSpec::kMaxRank> dims{};  // by falling stride; 1s and broadcasts left out
  int rank = 0;
};

// Nothing if an extent is negative or the size does not fit in 63 bits.
std::optional<Footprint> MakeFootprint(const TensorSpec& tensor);

// The range of bytes, unsigned because an address may have its highest bit set. An end that is not
// above its begin is beyond the address space.
inline uintptr_t BeginOf(const Footprint& footprint, const void* address) {
  return reinterpret_cast<uintptr_t>(address) + static_cast<uintptr_t>(footprint.first_byte);
}
inline uintptr_t EndOf(const Footprint& footprint, uintptr_t begin) {
  return begin + static_cast<uintptr_t>(footprint.length);
}

// Whether every element has bytes of its own. Dimensions that interleave (strides 3 and 2, say)
// count as sharing even where they happen not to.
bool ElementsAreDistinct(const TensorSpec& tensor, const Footprint& footprint);

// Whether tensors at two addresses may share a byte. Exact for tensors whose byte ranges are
// apart and for the usual interleavings, in which one tensor lies in gaps of the other's rows (q, k
// and v in one packed buffer; K and V blocks alternating in one pool). Where it cannot tell it says
// yes.
bool MayOverlap(const Footprint& a, const void* a_address, const Footprint& b,
                const void* b_address);

}  // namespace ropekv::internal

#endif  // ROPEKV_PLAN_OVERLAP_H_
