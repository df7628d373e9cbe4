// SPDX-License-Identifier: Apache-2.0
// Where the elements of a tensor are, and whether there is memory.
#ifndef ROPEKV_ACLNN_BOUNDS_H_
#define ROPEKV_ACLNN_BOUNDS_H_

#include <cstdint>

#include "meta.h"
#include "ropekv/types.h"

namespace ropekv::acl {

// In bytes, from the first element of a tensor that a plan was made for: to its lowest, and to the
// end of its highest. Both 0 if it has none.
struct Extent {
  int64_t low;
  int64_t high;
};
Extent ExtentOf(const TensorSpec& spec);

// What an operator reads or writes of the parameter `name`, which is `spec`, must not leave its
// block of device memory. Of other memory nothing is known, but an offset must not lead to where
// there is none. Returns 0, or `code` with a message.
int CheckBounds(const char* name, const TensorSpec& spec, const Tensor& tensor, void* storage,
                int code);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_BOUNDS_H_
