// SPDX-License-Identifier: Apache-2.0
// Rounding made-up values to the dtypes of a case. The operator's own conversions are elsewhere.
#ifndef ROPEKV_WORKLOAD_ENCODE_H_
#define ROPEKV_WORKLOAD_ENCODE_H_

#include <cstddef>
#include <cstdint>

#include "ropekv/types.h"

namespace ropekv::workload {

// Round to nearest even; overflow gives infinity, and a NaN stays a NaN.
uint16_t ToF16(float value);
uint16_t ToBF16(float value);
// Rounded to nearest even and saturated; NaN gives 0.
int32_t ToI32(float value);

// Writes `value` as element `index` of a tensor of `dtype`: kI32, kF16, kBF16 or kF32.
void Store(std::byte* tensor, DType dtype, int64_t index, float value);

}  // namespace ropekv::workload

#endif  // ROPEKV_WORKLOAD_ENCODE_H_
