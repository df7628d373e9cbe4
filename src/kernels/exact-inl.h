// SPDX-License-Identifier: Apache-2.0
// What every kernel calls for what is rare: heads by the operations of the contract alone, and rows
// of other dtypes and strides than its own. In exact.cc, once for each target and not once for each
// kernel.
#if defined(ROPEKV_KERNELS_EXACT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_EXACT_INL_H_
#undef ROPEKV_KERNELS_EXACT_INL_H_
#else
#define ROPEKV_KERNELS_EXACT_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/call.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// For a head's scales and offsets.
using ExactRoom = float[2][kMaxHeadDim];

// One head of one token: what a check has found in doubt, and everything on the scalar target.
void ExactHead(const KernelCall& call, const PartCall& part, int64_t token, int64_t head,
               ExactRoom& room);

// A Kernel::run of nothing else.
void RunExactly(const KernelCall& call);

// `count` values of a row, at least as many as a vector has lanes: to f32; and sums that wrap.
void Widen(DType dtype, const void* from, int64_t count, float* to);
void AddInt32(const int32_t* a, const int32_t* b, int64_t count, int32_t* to);

// A head's scales or offsets side by side: where they are, or in `room`.
const float* SideBySide(const ScaleView& view, int64_t head, int64_t channels, float* room);

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_EXACT_INL_H_
