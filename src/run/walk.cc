// SPDX-License-Identifier: Apache-2.0
#include "run/walk.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "plan/plan.h"
#include "run/fp_env.h"
#include "run/packed.h"
#include "run/rows.h"
#include "run/weights.h"

namespace ropekv::internal {
namespace {

// Tokens a kernel call: enough to make its cost vanish, few enough for the stack. 64 are not
// faster.
constexpr int64_t kChunk = 16;

// The tables of a call whose weights are not bound, on the stack: of 16 heads of 128 for k and for
// v, or of half as many with offsets. More heads go in rounds, k before v, so that each round reads
// x in the order of memory.
class Tables {
 public:
  // Points the parts of a cache at their heads [first, first + count), as many as there is still
  // room for, and makes their tables. Returns how many.
  int64_t Prepare(const Kernel& kernel, int64_t head_dim, int64_t first,
                  std::span<PartCall> parts) {
    int64_t floats = 0;
    for (const PartCall& part : parts) {
      floats += (part.offset.data ? 2 : 1) * kernel.TableSize(part);
    }
    // A cache has a part at least, and a part's table a step.
    const int64_t most = room_ / floats;  // NOLINT(clang-analyzer-core.DivideZero)
    const int64_t count = std::clamp<int64_t>(most, 0, parts[0].num_heads - first);
    for (PartCall& part : parts) {
      part.num_heads = count;
      if (count == 0) continue;
      part.first_head = first;
      part.first_channel += first * head_dim;
      part.row_offset += first * part.row_head_stride;
      part.scale.data += first * part.scale.head_stride;
      if (part.offset.data) part.offset.data += first * part.offset.head_stride;
      const int64_t size = count * kernel.TableSize(part);
      part.tables.reciprocals = Take(size);
      part.tables.shifts = part.offset.data ? Take(size) : no_offset_;
      kernel.prepare(part);
    }
    return count;
  }

 private:
  float* Take(int64_t floats) {
    float* taken = data_ + (kRoom - room_);
    room_ -= floats;
    return taken;
  }

  static constexpr int64_t kRoom = 2 * 2048;
  int64_t room_ = kRoom;
  alignas(kLineBytes) float data_[kRoom];
  // The shifts of every part without offsets: one step's, in vectors of at most 512 bits.
  alignas(kLineBytes) float no_offset_[64];
};

using Parts = std::array<PartCall, kMaxParts>;

// Those of the plan, with the addresses of their scales and bound tables.
Parts PartsOf(const PlanData& plan, const Rows& rows) {
  Parts parts = plan.parts;
  for (int p = 0; p < plan.call.num_parts; ++p) {
    SetScales(
        plan.part_tensors[p], [&](TensorId id) { return rows.Weight(id); }, parts[p]);
    if (plan.weights) parts[p].tables = plan.weights->tables[p];
  }
  return parts;
}

// Hands tokens to the kernel in chunks that lie in one run. Not inlined, like its neighbour: their
// frames would be in every call's.
[[gnu::noinline]] void RunChunks(const PlanData& plan, const Rows& rows, const Kernel& kernel,
                                 KernelCall call, Parts& parts, TokenRange range) {
  const void* cos[kChunk];
  const void* sin[kChunk];
  void* k_rows[kChunk];
  void* v_rows[kChunk];
  call.cos = cos;
  call.sin = sin;
  call.parts = parts.data();
  for (int p = 0; p < call.num_parts; ++p) {
    const TensorId cache = plan.part_tensors[p].cache;
    if (cache != TensorId::kNoTensor) parts[p].rows = cache == TensorId::kKCache ? k_rows : v_rows;
  }
  for (int64_t token = range.begin; token < range.end; token += call.num_tokens) {
    call.num_tokens = std::min({kChunk, range.end - token, plan.inner - token % plan.inner});
    rows.Angles(TensorId::kCos, token, call.num_tokens, cos);
    rows.Angles(TensorId::kSin, token, call.num_tokens, sin);
    rows.Cache(TensorId::kKCache, token, call.num_tokens, k_rows);
    rows.Cache(TensorId::kVCache, token, call.num_tokens, v_rows);
    call.x = rows.Input(TensorId::kX, token);
    call.activation_scale =
        static_cast<const float*>(rows.Input(TensorId::kActivationScale, token));
    for (int p = 0; p < call.num_parts; ++p) {
      const PartTensors& tensors = plan.part_tensors[p];
      if (tensors.out == TensorId::kNoTensor) continue;
      parts[p].out = rows.Output(tensors.out, token, parts[p].first_head, tensors.channel);
    }
    kernel.run(call);
  }
}

[[gnu::noinline]] void RunOnce(const PlanData& plan, const Rows& rows, const Kernel& kernel,
                               const KernelCall& call, TokenRange range) {
  Parts parts = PartsOf(plan, rows);
  RunChunks(plan, rows, kernel, call, parts, range);
}

TensorId CacheOf(const PlanData& plan, int part) { return plan.part_tensors[part].cache; }

// With tables made for this call. The parts of a cache go on by the same heads:
// Kernel::whole_heads.
[[gnu::noinline]] void RunRounds(const PlanData& plan, const Rows& rows, const Kernel& kernel,
                                 const KernelCall& call, TokenRange range) {
  std::array<int64_t, kMaxParts> done = {};
  bool more = true;
  for (int round = 0; more; ++round) {
    Tables tables;
    Parts parts = PartsOf(plan, rows);
    more = false;
    for (int p = 0, next; p < call.num_parts; p = next) {
      next = p + 1;
      if (parts[p].sink != Sink::kQuantise) {
        if (round > 0) parts[p].num_heads = 0;
        continue;
      }
      while (next < call.num_parts && CacheOf(plan, next) == CacheOf(plan, p)) ++next;
      const std::span<PartCall> of_cache(&parts[p], static_cast<size_t>(next - p));
      done[p] += tables.Prepare(kernel, call.head_dim, done[p], of_cache);
      more = more || done[p] < plan.parts[p].num_heads;
    }
    RunChunks(plan, rows, kernel, call, parts, range);
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
  if (plan.weights || kernel.exact || plan.normalised.k_cache.dtype != DType::kI8) {
    return RunOnce(plan, rows, kernel, call, range);
  }
  RunRounds(plan, rows, kernel, call, range);
}

}  // namespace ropekv::internal
