// SPDX-License-Identifier: Apache-2.0
// Descriptors of the program as native tensors.
#ifndef ROPEKV_ACLNN_TRANSLATE_H_
#define ROPEKV_ACLNN_TRANSLATE_H_

#include "meta.h"
#include "ropekv/types.h"

namespace ropekv::acl {

DType ToDType(aclDataType dtype);  // kNone: there is no such native one

// Formats that say what the dimensions mean, but not that memory is arranged otherwise.
bool IsPlain(aclFormat format);

TensorSpec ToSpec(const Tensor& tensor);

// The same elements in the same order as one dimension, if one stride can say so; otherwise the
// tensor as it is.
TensorSpec Flat(const Tensor& tensor);

int64_t NumElements(const Tensor& tensor);

// Whether the block of device memory that the tensor's data is in has room for so many elements in
// a row, more though they may be than its shape says.
bool HasRoom(const Tensor& tensor, int64_t count);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_TRANSLATE_H_
