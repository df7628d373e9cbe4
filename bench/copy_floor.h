// SPDX-License-Identifier: Apache-2.0
// The least a call can cost: its bytes read and its bytes written, and nothing computed.
#ifndef ROPEKV_BENCH_COPY_FLOOR_H_
#define ROPEKV_BENCH_COPY_FLOOR_H_

#include "ropekv/ropekv.h"

namespace ropekv::bench {

enum class Stores { kOrdinary, kStreaming };

// Reads every byte of x, cos and sin, and writes every byte of q (k, v) and of the cache rows that
// `indices` names, at the same addresses and in the same token order as Run would, in vectors of
// the best target. What it writes is meaningless: the outputs of `args` are ruined. All tensors
// row-major; rows of whole vectors. The plan's parameters (scales, offsets), which stay in the
// caches, are not read.
void CopyFloor(const Plan& plan, const Args& args, Stores stores, int num_threads);

// What one call moves between the processor and memory or caches, in bytes.
int64_t BytesMoved(const Spec& spec);

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_COPY_FLOOR_H_
