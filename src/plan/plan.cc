// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>

namespace ropekv {
namespace internal {
namespace {

Result<Target> ChooseTarget(Target wanted) {
  const char* culprit = "target";
  if (wanted == Target::kBest) {
    const char* name = std::getenv("ROPEKV_TARGET");
    if (name == nullptr || *name == '\0') return UsableTargets().front();
    culprit = "ROPEKV_TARGET";
    const Result<Target> parsed = ParseTarget(name);
    if (!parsed.ok()) return Status(StatusCode::kBadOption, culprit, parsed.status().detail());
    wanted = parsed.value();
    if (wanted == Target::kBest) return UsableTargets().front();
  }
  std::string usable;
  for (const Target target : UsableTargets()) {
    if (target == wanted) return wanted;
    usable += (usable.empty() ? "" : ", ") + std::string(Name(target));
  }
  return Status(StatusCode::kBadOption, culprit,
                "'" + std::string(Name(wanted)) + "' cannot run here; this processor and build " +
                    "have " + usable);
}

// Strides that lead to no element become 0: they may be of any size, and are multiplied below and
// in src/run.
void DropIdleStrides(PlanData& plan) {
  for (const TensorField& field : kTensorFields) {
    TensorSpec& tensor = plan.effective.*field.spec;
    if (!tensor.present()) continue;
    const bool empty = plan.footprints[static_cast<size_t>(field.id)].length == 0;
    for (int i = 0; i < tensor.rank; ++i) {
      if (empty || tensor.shape[i] == 1) tensor.stride[i] = 0;
    }
  }
}

// The strides of one tensor over (batch, sequence, head, lane).
struct Axes {
  int64_t batch = 0;
  int64_t seq = 0;
  int64_t head = 0;
  int64_t lane = 0;
};

Axes AxesOf(const PlanData& plan, TensorId id) {
  const TensorSpec& t = plan.effective.*kTensorFields[static_cast<size_t>(id)].spec;
  const bool has_seq = plan.effective.x.rank == 3;
  const auto& s = t.stride;
  switch (id) {
    case TensorId::kX: return has_seq ? Axes{s[0], s[1], 0, s[2]} : Axes{s[0], 0, 0, s[1]};
    case TensorId::kCos:
    case TensorId::kSin: return has_seq ? Axes{s[0], s[1], 0, s[3]} : Axes{s[0], 0, 0, s[1]};
    case TensorId::kQ:
    case TensorId::kK:
    case TensorId::kV: return has_seq ? Axes{s[0], s[1], s[2], s[3]} : Axes{s[0], 0, s[1], s[2]};
    case TensorId::kScaleK:
    case TensorId::kScaleV:
    case TensorId::kOffsetK:
    case TensorId::kOffsetV:
      return t.rank == 1 ? Axes{0, 0, plan.sizes.head_dim * s[0], s[0]} : Axes{0, 0, s[0], s[1]};
    case TensorId::kKCache:
    case TensorId::kVCache: return {0, 0, s[2], s[3]};
    case TensorId::kWeightScale:
    case TensorId::kBias: return {0, 0, 0, s[0]};
    case TensorId::kActivationScale: return {s[0] * plan.sizes.seq_len, s[0], 0, 1};
    default: return {};
  }
}

struct TokenTensor {
  TensorId id;
  RowInput RowCall::*input;
  RowOutput RowCall::*output;
};
constexpr TokenTensor kTokenTensors[] = {
    {TensorId::kX, &RowCall::x, nullptr},
    {TensorId::kCos, &RowCall::cos, nullptr},
    {TensorId::kSin, &RowCall::sin, nullptr},
    {TensorId::kQ, nullptr, &RowCall::q},
    {TensorId::kK, nullptr, &RowCall::k},
    {TensorId::kV, nullptr, &RowCall::v},
    {TensorId::kActivationScale, &RowCall::activation_scale, nullptr},
};

// Decides how tokens are walked, and fills the strides of tensors that have a row a token.
void LayOutTokens(PlanData& plan) {
  const Sizes& sizes = plan.sizes;
  bool one_run = true;
  for (const TokenTensor& tensor : kTokenTensors) {
    const Axes axes = AxesOf(plan, tensor.id);
    one_run = one_run && (sizes.seq_len == 1 || axes.batch == axes.seq * sizes.seq_len);
  }
  one_run = one_run || sizes.batch_size == 1;
  plan.outer = one_run ? 1 : sizes.batch_size;
  plan.inner = one_run ? sizes.num_tokens : sizes.seq_len;
  for (const TokenTensor& tensor : kTokenTensors) {
    const Axes axes = AxesOf(plan, tensor.id);
    plan.outer_stride[static_cast<size_t>(tensor.id)] = axes.batch;
    const int64_t token = sizes.seq_len == 1 ? axes.batch : axes.seq;
    if (tensor.input) {
      plan.row.*tensor.input = {nullptr, token, axes.head, axes.lane};
    } else {
      plan.row.*tensor.output = {nullptr, token, axes.head, axes.lane};
    }
  }
}

void LayOutParameters(PlanData& plan) {
  constexpr struct {
    TensorId id;
    RowInput RowCall::*input;
  } kParameters[] = {
      {TensorId::kScaleK, &RowCall::scale_k},   {TensorId::kScaleV, &RowCall::scale_v},
      {TensorId::kOffsetK, &RowCall::offset_k}, {TensorId::kOffsetV, &RowCall::offset_v},
      {TensorId::kBias, &RowCall::bias},        {TensorId::kWeightScale, &RowCall::weight_scale},
  };
  for (const auto& parameter : kParameters) {
    const Axes axes = AxesOf(plan, parameter.id);
    plan.row.*parameter.input = {nullptr, 0, axes.head, axes.lane};
  }
  const Axes k = AxesOf(plan, TensorId::kKCache);
  const Axes v = AxesOf(plan, TensorId::kVCache);
  plan.row.k_cache = {nullptr, k.head, k.lane};
  plan.row.v_cache = {nullptr, v.head, v.lane};
  plan.row.num_q_heads = plan.sizes.num_q_heads;
  plan.row.num_kv_heads = plan.sizes.num_kv_heads;
  plan.row.head_dim = plan.sizes.head_dim;
  plan.row.bias_dtype = plan.effective.bias.dtype;
}

bool LanesAreDense(const PlanData& plan) {
  if (plan.sizes.head_dim < 2 * kMinHalfHead) return false;
  for (const TensorField& field : kTensorFields) {
    if (field.id == TensorId::kIndices) continue;
    // Nobody walks the lanes of a tensor that is absent or empty.
    if (plan.footprints[static_cast<size_t>(field.id)].length == 0) continue;
    if (AxesOf(plan, field.id).lane != 1) return false;
  }
  return true;
}

// What one token moves, for deciding how many threads are worth waking. Capped: with strides of 0 a
// row may be longer than any memory.
int64_t BytesPerToken(const Spec& spec, const Sizes& sizes) {
  const auto capped = [](int64_t count) { return std::min(count, int64_t{1} << 40); };
  const auto& [q, k, v] = spec.size_splits;
  const int64_t halves = capped(q) + 2 * capped(sizes.head_dim) +  // q, cos and sin
                         (spec.kv_output ? 2 * capped(k) : 0);
  return capped(sizes.hidden) * ElementBytes(spec.x.dtype) + halves * ElementBytes(spec.cos.dtype) +
         capped(k) + capped(v);
}

// Beyond about this many bytes a call's tensors push each other out of a core's share of the
// last-level cache, and the kernels stream and prefetch. Decided for the plan, so that its slices
// agree. A constant, because what the system says of that cache is the whole socket's, or nothing.
constexpr int64_t kCacheShareBytes = 16 << 20;

bool IsBeyondCaches(const PlanData& plan) {
  return plan.sizes.num_tokens > kCacheShareBytes / plan.bytes_per_token;
}

Result<std::shared_ptr<const PlanData>> BuildPlan(const Spec& spec) {
  auto plan = std::make_shared<PlanData>();
  plan->spec = plan->effective = spec;
  if (Status status = CheckSpec(plan->effective, plan->sizes, plan->footprints); !status.ok()) {
    return status;
  }
  DropIdleStrides(*plan);
  const Result<Target> target = ChooseTarget(spec.target);
  if (!target.ok()) return target.status();
  plan->target = target.value();

  LayOutTokens(*plan);
  LayOutParameters(*plan);
  plan->bytes_per_token = BytesPerToken(plan->effective, plan->sizes);
  plan->row.beyond_caches = IsBeyondCaches(*plan);
  // With bf16 tables the two numerics are one.
  const bool ascend = spec.numerics == Numerics::kAscend && spec.cos.dtype == DType::kF16;
  plan->rows = FindRows(plan->target, spec.x.dtype, spec.cos.dtype,
                        ascend ? Numerics::kAscend : Numerics::kFloat32, LanesAreDense(*plan));
  if (plan->rows == nullptr) {
    return Status(StatusCode::kInternal, "target",
                  "no kernel for " + std::string(Name(plan->target)));
  }
  return std::shared_ptr<const PlanData>(std::move(plan));
}

}  // namespace
}  // namespace internal

const Spec& Plan::spec() const noexcept { return data_->spec; }
int64_t Plan::num_tokens() const noexcept { return data_->sizes.num_tokens; }
Target Plan::target() const noexcept { return data_->target; }

Result<Plan> MakePlan(const Spec& spec) noexcept {
  try {
    auto built = internal::BuildPlan(spec);
    if (!built.ok()) return built.status();
    return Plan(std::move(built).value());
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kOutOfMemory, "memory", "exhausted");  // short: not allocated
  }
}

}  // namespace ropekv
