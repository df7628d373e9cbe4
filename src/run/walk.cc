// SPDX-License-Identifier: Apache-2.0
#include "run/walk.h"

#include <algorithm>

#include "plan/plan.h"
#include "run/fp_env.h"
#include "run/packed.h"
#include "run/rows.h"
#include "run/weights.h"

namespace ropekv::internal {
namespace {

// Tokens a kernel call: enough to make its cost vanish, few enough for the stack.
constexpr int64_t kChunk = 96;

// The tables of a call whose weights are not bound, on the stack: of 16 heads of 128 for k and for
// v, or of half as many with offsets. More heads go in rounds, k before v, so that each round reads
// x in the order of memory.
class Tables {
 public:
  // Points `part` at its heads [first, first + count), as many as there is still room for, and
  // makes their tables. Returns how many.
  int64_t Prepare(const Kernel& kernel, int64_t head_dim, int64_t first, PartCall& part) {
    const int64_t size = kernel.TableSize(head_dim);
    const int64_t fit = (room_ - kOneShift) / (part.offset.data ? 2 * size : size);
    part.num_heads = std::clamp<int64_t>(fit, 0, part.num_heads - first);
    part.first_head = first;
    part.first_channel += first * head_dim;
    part.scale.data += first * part.scale.head_stride;
    if (part.offset.data) part.offset.data += first * part.offset.head_stride;
    part.tables.reciprocals = Take(part.num_heads * size);
    part.tables.shifts = Take(part.offset.data ? part.num_heads * size : kOneShift);
    kernel.prepare(part, head_dim);
    return part.num_heads;
  }

 private:
  static constexpr int64_t kOneShift = 64;

  float* Take(int64_t floats) {
    float* taken = data_ + (kRoom - room_);
    room_ -= floats;
    return taken;
  }

  static constexpr int64_t kRoom = 2 * (2048 + kOneShift);
  int64_t room_ = kRoom;
  alignas(kLineBytes) float data_[kRoom];
};

// Hands tokens to the kernel in chunks that lie in one run. Not inlined, like its neighbour: their
// frames would be in every call's.
[[gnu::noinline]] void RunChunks(const PlanData& plan, const Rows& rows, const Kernel& kernel,
                                 KernelCall call, TokenRange range) {
  const void* cos[kChunk];
  const void* sin[kChunk];
  int8_t* k_rows[kChunk];
  int8_t* v_rows[kChunk];
  call.cos = cos;
  call.sin = sin;
  call.k.cache_rows = k_rows;
  call.v.cache_rows = v_rows;
  for (int64_t token = range.begin; token < range.end; token += call.num_tokens) {
    call.num_tokens = std::min({kChunk, range.end - token, plan.inner - token % plan.inner});
    rows.Inputs(TensorId::kCos, token, call.num_tokens, cos);
    rows.Inputs(TensorId::kSin, token, call.num_tokens, sin);
    rows.Cache(TensorId::kKCache, token, call.num_tokens, call.k.first_head, k_rows);
    rows.Cache(TensorId::kVCache, token, call.num_tokens, call.v.first_head, v_rows);
    call.x = rows.Input(TensorId::kX, token);
    call.activation_scale =
        static_cast<const float*>(rows.Input(TensorId::kActivationScale, token));
    call.q.out = rows.Output(TensorId::kQ, token, 0);
    call.k.out = rows.Output(TensorId::kK, token, call.k.first_head);
    call.v.out = rows.Output(TensorId::kV, token, call.v.first_head);
    kernel.run(call);
  }
}

// The same with tables made for this call.
[[gnu::noinline]] void RunRounds(const PlanData& plan, const Rows& rows, const Kernel& kernel,
                                 const KernelCall& call, TokenRange range) {
  const int64_t heads = plan.sizes.num_kv_heads;
  int64_t k_head = 0, v_head = 0;
  do {
    Tables tables;
    KernelCall round = call;
    if (k_head + v_head > 0) round.q.num_heads = 0;
    k_head += tables.Prepare(kernel, call.head_dim, k_head, round.k);
    v_head += tables.Prepare(kernel, call.head_dim, v_head, round.v);
    RunChunks(plan, rows, kernel, round, range);
  } while (v_head < heads);
}

}  // namespace

void Walk(const PlanData& plan, const Args& args, TokenRange range) {
  const DefaultFpEnvironment environment;
  if (plan.packed) return WalkPacked(plan, args, range);
  const Kernel& kernel = ChooseKernel(plan, args);
  const Rows rows(plan, args);
  KernelCall call = plan.call;
  call.weight_scale = static_cast<const float*>(rows.Weight(TensorId::kWeightScale));
  call.bias = rows.Weight(TensorId::kBias);
  call.k.scale.data = static_cast<const float*>(rows.Weight(TensorId::kScaleK));
  call.v.scale.data = static_cast<const float*>(rows.Weight(TensorId::kScaleV));
  call.k.offset.data = static_cast<const float*>(rows.Weight(TensorId::kOffsetK));
  call.v.offset.data = static_cast<const float*>(rows.Weight(TensorId::kOffsetV));
  if (plan.weights) {
    call.k.tables = plan.weights->k;
    call.v.tables = plan.weights->v;
    return RunChunks(plan, rows, kernel, call, range);
  }
  if (kernel.exact) return RunChunks(plan, rows, kernel, call, range);
  RunRounds(plan, rows, kernel, call, range);
}

}  // namespace ropekv::internal
