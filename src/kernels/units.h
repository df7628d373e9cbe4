// SPDX-License-Identifier: Apache-2.0
// The translation units of this folder, one for each source dtype, and private to it.
#ifndef ROPEKV_KERNELS_UNITS_H_
#define ROPEKV_KERNELS_UNITS_H_

#include "kernels/call.h"
#include "kernels/variants.h"

namespace ropekv::internal {

// A unit's kernel for this target, or one without `run`.
using FindInUnit = Kernel(const KernelTraits& traits);

// Null: not built for this processor.
#define ROPEKV_DECLARE_UNIT(source) FindInUnit* UnitOf_##source(Target target);
ROPEKV_SOURCES(ROPEKV_DECLARE_UNIT)
#undef ROPEKV_DECLARE_UNIT

}  // namespace ropekv::internal

#endif  // ROPEKV_KERNELS_UNITS_H_
