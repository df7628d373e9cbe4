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
constexpr int64_t kChunk = 256;

// Floats of a table that is made for a call: 8 heads of 128. More heads go in rounds.
constexpr int64_t kTableRoom = 1024;

// The kv heads [first, first + count) alone.
void TakeHeads(PartCall& part, int64_t first, int64_t count, int64_t head_dim) {
  part.num_heads = count;
  part.first_channel += first * head_dim;
  part.scale.data += first * part.scale.head_stride;
  if (part.offset.data) part.offset.data += first * part.offset.head_stride;
}

// Hands tokens to the kernel in chunks that lie in one run; of k and v, heads from `first` on.
void RunChunks(const PlanData& plan, const Rows& rows, const Kernel& kernel, KernelCall call,
               int64_t first, TokenRange range) {
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
    rows.Cache(TensorId::kKCache, token, call.num_tokens, first, k_rows);
    rows.Cache(TensorId::kVCache, token, call.num_tokens, first, v_rows);
    call.x = rows.Input(TensorId::kX, token);
    call.activation_scale =
        static_cast<const float*>(rows.Input(TensorId::kActivationScale, token));
    call.q.out = rows.Output(TensorId::kQ, token, 0);
    call.k.out = rows.Output(TensorId::kK, token, first);
    call.v.out = rows.Output(TensorId::kV, token, first);
    kernel.run(call);
  }
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
    return RunChunks(plan, rows, kernel, call, 0, range);
  }
  if (kernel.exact) return RunChunks(plan, rows, kernel, call, 0, range);
  alignas(kLineBytes) float tables[4][kTableRoom];
  const int64_t heads = plan.sizes.num_kv_heads;
  const int64_t most = kTableRoom / kernel.TableSize(call.head_dim);
  int64_t first = 0;
  do {
    const int64_t count = std::min(most, heads - first);
    KernelCall round = call;
    if (first > 0) round.q.num_heads = 0;
    TakeHeads(round.k, first, count, call.head_dim);
    TakeHeads(round.v, first, count, call.head_dim);
    round.k.tables = {tables[0], tables[1]};
    round.v.tables = {tables[2], tables[3]};
    kernel.prepare(round.k, call.head_dim);
    kernel.prepare(round.v, call.head_dim);
    RunChunks(plan, rows, kernel, round, first, range);
    first += count;
  } while (first < heads);
}

}  // namespace ropekv::internal
