// SPDX-License-Identifier: Apache-2.0
// What MakePlan works out once. No pointers to data, no SIMD.
#ifndef ROPEKV_PLAN_PLAN_H_
#define ROPEKV_PLAN_PLAN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/call.h"
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
  int64_t rotary_dim = 0;
  bool half_width_angles = false;
  int64_t hidden = 0;
};

// Reads the sizes and checks every rule that needs no data. On success `spec` has lost the tensors
// that are ignored (the dequantisation's when x is not i32, k and v without kv_output), and
// `footprints` covers the others.
Status CheckSpec(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints);

// The strides of one tensor over (batch, sequence, head, channel).
struct Axes {
  int64_t batch = 0;
  int64_t seq = 0;
  int64_t head = 0;
  int64_t channel = 0;
};

// Where a part of a call comes from and goes to; kNoTensor: nothing.
struct PartTensors {
  TensorId out = TensorId::kNoTensor;
  TensorId cache = TensorId::kNoTensor;
  TensorId scale = TensorId::kNoTensor;
  TensorId offset = TensorId::kNoTensor;
  int64_t channel = 0;  // the part's first, of a head
};

// A tensor with elements, of those that a call's Args bring. Without the rest of its Footprint: a
// call of one token notices each line of memory that its checks read.
struct ArgTensor {
  const TensorField* field = nullptr;
  int64_t first_byte = 0;
  int64_t length = 0;
  uintptr_t misaligned = 0;  // bits that its address must not have
};

// The longest block in which heads are packed.
inline constexpr int64_t kMaxPackedHeadDim = 256;

struct BoundWeights;

// The kernel of a call: the streaming one only if the plan has one and every row begins a line.
const Kernel& ChooseKernel(const PlanData& plan, const Args& args);

// Lists plan.arg_tensors again, after a change of its footprints.
void ListArgTensors(PlanData& plan);

// MakePlan, for caches of this many bytes: what moves more, streams.
Result<Plan> MakePlan(const Spec& spec, int64_t cache_bytes);

}  // namespace internal

struct PlanData {
  Spec spec;        // as the caller gave it
  Spec normalised;  // without the tensors that are ignored, and with idle strides 0
  internal::Sizes sizes;
  Target target = Target::kBest;
  std::array<internal::Footprint, kNumTensors> footprints{};  // empty: not in a call's Args
  std::array<internal::ArgTensor, kNumTensors> arg_tensors{};
  int num_arg_tensors = 0;
  std::array<internal::Axes, kNumTensors> axes{};

  // Tokens as `outer` runs of `inner`, within which each tensor's token stride is constant: a
  // single run unless a batch stride differs from seq_len token strides.
  int64_t outer = 1;
  int64_t inner = 0;

  // Channels of a head do not lie side by side, or are too few or too many for a kernel: heads go
  // through dense buffers, in blocks of kernel_head_dim channels.
  bool packed = false;
  int64_t kernel_head_dim = 0;
  internal::Kernel kernel;
  internal::Kernel streaming_kernel;  // if the call is large and its rows are of whole lines
  // Everything but addresses and num_tokens.
  internal::KernelCall call;
  std::array<internal::PartCall, internal::kMaxParts> parts;
  std::array<internal::PartTensors, internal::kMaxParts> part_tensors;
  int64_t bytes_per_token = 0;
  int64_t cache_bytes = 0;  // see MakePlan

  std::shared_ptr<const internal::BoundWeights> weights;  // null: in each call's Args

  std::span<const internal::ArgTensor> ArgTensors() const {
    return {arg_tensors.data(), static_cast<size_t>(num_arg_tensors)};
  }
  const internal::Footprint& footprint_of(TensorId id) const {
    return footprints[static_cast<size_t>(id)];
  }
  const internal::Axes& axes_of(TensorId id) const { return axes[static_cast<size_t>(id)]; }
  int64_t token_stride(TensorId id) const {
    return sizes.seq_len == 1 ? axes_of(id).batch : axes_of(id).seq;
  }
};

}  // namespace ropekv

#endif  // ROPEKV_PLAN_PLAN_H_
