// SPDX-License-Identifier: Apache-2.0
// The row kernels for bf16 x, once per target.
#define ROPEKV_SOURCE kBF16
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_bf16.cc"
#include "kernels/row_unit-inl.h"
