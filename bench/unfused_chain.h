// SPDX-License-Identifier: Apache-2.0
// The operator as one writes it without fusing: a pass over all tokens for each step.
#ifndef ROPEKV_BENCH_UNFUSED_CHAIN_H_
#define ROPEKV_BENCH_UNFUSED_CHAIN_H_

#include <cstdint>
#include <vector>

#include "ropekv/ropekv.h"

namespace ropekv::bench {

// Plain loops, left to the compiler to vectorise for the same instruction sets as the kernels, with
// the same flags. Splitting is free: heads are used where they lie. Its bytes are those of Run.
//
// Precondition: what BeyondPeers names is not there, row-major tensors without offsets, and a bias
// only if it is f32. Nothing is checked when it runs.
class UnfusedChain {
 public:
  // Allocates what lies between the passes.
  UnfusedChain(const Plan& plan, const Args& args);
  void Run(int num_threads);

 private:
  Plan plan_;
  Args args_;
  std::vector<float> values_;     // [T, H]
  std::vector<float> cos_, sin_;  // [T, D]
  std::vector<int8_t> k_, v_;     // [T, Nkv * D]
};

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_UNFUSED_CHAIN_H_
