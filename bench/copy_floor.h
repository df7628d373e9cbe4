// SPDX-License-Identifier: Apache-2.0
// The least a call can cost: its bytes read and its bytes written, and nothing computed.
#ifndef ROPEKV_BENCH_COPY_FLOOR_H_
#define ROPEKV_BENCH_COPY_FLOOR_H_

#include "ropekv/ropekv.h"

namespace ropekv::bench {

enum class Stores { kOrdinary, kStreaming };

// Reads every byte of x, indices, positions and activation_scale and each token's row of cos and
// sin, and writes every byte of q (k, v) and of the cache rows that `indices` names, at the same
// addresses and in the same token order as Run, in the widest vectors of the machine whatever the
// plan's target. It touches nothing else: like Run, it skips a padding token's share of x that
// nothing is made of. Parameters that all tokens share (scales, offsets, bias) stay in the caches
// and are not read.
//
// What it writes is meaningless: the outputs of `args` are ruined. Precondition: inputs are
// row-major, but for cos and sin, whose rows may be apart; the heads of a token lie side by side in
// q, k and v; caches have any positive strides, both the same, with a head's channels side by side.
// Streaming stores are used only if all rows are aligned to the vectors, and end with a fence.
void CopyFloor(const Plan& plan, const Args& args, Stores stores, int num_threads);

// What CopyFloor reads and writes, in bytes.
int64_t BytesMoved(const Plan& plan, const Args& args);

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_COPY_FLOOR_H_
