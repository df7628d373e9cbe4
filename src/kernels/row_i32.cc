// SPDX-License-Identifier: Apache-2.0
// The row kernels for i32 x, once per target.
#define ROPEKV_SOURCE kI32
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_i32.cc"
#include "kernels/row_unit-inl.h"
