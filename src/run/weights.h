// SPDX-License-Identifier: Apache-2.0
// Scales, offsets and biases that a plan owns.
#ifndef ROPEKV_RUN_WEIGHTS_H_
#define ROPEKV_RUN_WEIGHTS_H_

#include <cstddef>
#include <memory>
#include <new>

#include "plan/plan.h"

namespace ropekv::internal {

// The tensors that belong to a layer and not to a call.
inline constexpr TensorId kWeights[] = {TensorId::kScaleK,      TensorId::kScaleV,
                                        TensorId::kOffsetK,     TensorId::kOffsetV,
                                        TensorId::kWeightScale, TensorId::kBias};

struct AlignedDelete {
  void operator()(std::byte* memory) const {
    ::operator delete[](memory, std::align_val_t(kLineBytes));
  }
};

struct BoundWeights {
  Args args;         // row-major copies of them; the other pointers are null
  ScaleTables k, v;  // null where the plan's kernel takes none
  std::unique_ptr<std::byte[], AlignedDelete> memory;
};

// `args`, with the weights of the plan if it has its own.
inline Args WithWeights(const PlanData& plan, const Args& args) {
  if (!plan.weights) return args;
  Args all = args;
  for (const TensorId id : kWeights) {
    const auto input = kTensorFields[static_cast<size_t>(id)].input;
    all.*input = plan.weights->args.*input;
  }
  return all;
}

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_WEIGHTS_H_
