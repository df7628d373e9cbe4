// SPDX-License-Identifier: Apache-2.0
// Scales, offsets and biases that a plan owns.
#ifndef ROPEKV_RUN_WEIGHTS_H_
#define ROPEKV_RUN_WEIGHTS_H_

#include <array>
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
  Args args;  // row-major copies of them; the other pointers are null
  std::array<ScaleTables, kMaxParts> tables;  // null where the plan's kernel takes none
  std::unique_ptr<std::byte[], AlignedDelete> memory;
};

// Gives a part the addresses of its scales and offsets; data(id) is a tensor's, null if it is
// absent.
template <class Data>
void SetScales(const PartTensors& tensors, const Data& data, PartCall& part) {
  const auto set = [&](TensorId id, ScaleView& view) {
    if (id == TensorId::kNoTensor) return;
    view.data = static_cast<const float*>(data(id));
    if (view.data) view.data += tensors.channel * view.channel_stride;
  };
  set(tensors.scale, part.scale);
  set(tensors.offset, part.offset);
}

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
