// SPDX-License-Identifier: Apache-2.0
#ifndef ROPEKV_ACLNN_DATA_BUFFER_H_
#define ROPEKV_ACLNN_DATA_BUFFER_H_

#include <cstddef>

#include "handle_table.h"

namespace ropekv::acl {

struct DataBuffer {
  void* data;
  size_t size;
};
using DataBufferTable = HandleTable<DataBuffer, HandleKind::kDataBuffer>;

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_DATA_BUFFER_H_
