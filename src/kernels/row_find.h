// SPDX-License-Identifier: Apache-2.0
// The part of FindRows that each row_<source>.cc defines, private to this folder.
#ifndef ROPEKV_KERNELS_ROW_FIND_H_
#define ROPEKV_KERNELS_ROW_FIND_H_

#include "kernels/row.h"

namespace ropekv::internal {

RowFn FindRows_kI32(Target target, DType output, Numerics numerics, bool dense);
RowFn FindRows_kF16(Target target, DType output, Numerics numerics, bool dense);
RowFn FindRows_kBF16(Target target, DType output, Numerics numerics, bool dense);

}  // namespace ropekv::internal

#endif  // ROPEKV_KERNELS_ROW_FIND_H_
