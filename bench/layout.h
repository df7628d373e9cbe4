// SPDX-License-Identifier: Apache-2.0
// Where outputs lie that are not row-major.
#ifndef ROPEKV_BENCH_LAYOUT_H_
#define ROPEKV_BENCH_LAYOUT_H_

#include <cstdint>

#include "ropekv/ropekv.h"
#include "workload/case.h"

namespace ropekv::bench {

// Of the caches [C1, C2, Nkv, D].
enum class CacheOrder : uint8_t {
  kTokens,  // as they are (NHD, BSND)
  kHeads,   // the heads of a block or sequence before its tokens (HND, BNSH)
  kBlocks,  // K and V in one tensor, their blocks or sequences by turns
};

struct Layout {
  CacheOrder caches = CacheOrder::kTokens;
  bool sliced = false;  // q, k and v are slices of rows as long as x's

  bool dense() const { return caches == CacheOrder::kTokens && !sliced; }
};

// Gives the outputs of `spec`, row-major till now, the strides of `layout`.
void SetStrides(const Layout& layout, Spec* spec);

// Makes room for them in `made`, which Allocate made of such a spec.
void MoveOutputs(const Layout& layout, workload::Case* made);

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_LAYOUT_H_
