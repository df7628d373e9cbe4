// SPDX-License-Identifier: Apache-2.0
// The operator again, from docs/numerics.md alone: element by element, slow, plain. It shares no
// arithmetic and no addressing with plan/, run/ and kernels/, so that a mistake there shows.
#ifndef ROPEKV_REFERENCE_REFERENCE_H_
#define ROPEKV_REFERENCE_REFERENCE_H_

#include <cstdint>

#include "ropekv/ropekv.h"

namespace ropekv::reference {

// Tokens [begin, end) of a call that has passed all checks. Throws std::bad_alloc or
// std::length_error, if anything, before the first byte is written.
void Compute(const Spec& spec, const Args& args, int64_t begin, int64_t end);

}  // namespace ropekv::reference

#endif  // ROPEKV_REFERENCE_REFERENCE_H_
