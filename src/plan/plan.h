// SPDX-License-Identifier: Apache-2.0
// What MakePlan works out once. No pointers to data, no SIMD.
#ifndef ROPEKV_PLAN_PLAN_H_
#define ROPEKV_PLAN_PLAN_H_

#include <array>
#include <cstdint>

#include "kernels/row.h"
#include "plan/overlap.h"
#include "ropekv/ropekv.h"

namespace ropekv {

namespace internal {

// The sizes a Spec implies.
struct Sizes {
  int64_t batch_size = 0;
  int64_t seq_len = 0;  // 1 for a 2-D x
  int64_t num_tokens = 0;
  int64_t num_q_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t hidden = 0;
};

// Reads the sizes and checks every rule that needs no data. On success `spec` has lost the tensors
// that are ignored (the dequantisation's when x is not i32, k and v without kv_output), and
// `footprints` covers the others.
Status CheckSpec(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints);

}  // namespace internal

struct PlanData {
  Spec spec;       // as the caller gave it
  Spec effective;  // without the tensors that are ignored, and with idle strides 0
  internal::Sizes sizes;
  Target target = Target::kBest;
  std::array<internal::Footprint, kNumTensors> footprints{};

  // Tokens as `outer` runs of `inner`, within which each tensor's token stride is constant: a
  // single run unless a batch stride differs from seq_len token strides.
  int64_t outer = 1;
  int64_t inner = 0;
  std::array<int64_t, kNumTensors> outer_stride{};  // in elements

  internal::RowFn rows = nullptr;
  internal::RowCall row{};  // everything but the data pointers and num_tokens
  int64_t bytes_per_token = 0;
};

}  // namespace ropekv

#endif  // ROPEKV_PLAN_PLAN_H_
