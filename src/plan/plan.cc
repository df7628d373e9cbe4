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
    TensorSpec& tensor = plan.normalised.*field.spec;
    if (!tensor.present()) continue;
    const bool empty = plan.footprints[static_cast<size_t>(field.id)].length == 0;
    for (int i = 0; i < tensor.rank; ++i) {
      if (empty || tensor.shape[i] == 1) tensor.stride[i] = 0;
    }
  }
}

Axes AxesOf(const PlanData& plan, TensorId id) {
  const TensorSpec& t = plan.normalised.*kTensorFields[static_cast<size_t>(id)].spec;
  const bool has_seq = plan.normalised.x.rank == 3;
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
    case TensorId::kActivationScale: return {s[0] * plan.sizes.seq_len, s[0], 0, 0};
    default: return {};
  }
}

constexpr TensorId kTokenTensors[] = {
    TensorId::kX, TensorId::kCos, TensorId::kSin, TensorId::kActivationScale,
    TensorId::kQ, TensorId::kK,   TensorId::kV,
};

// Decides how tokens are walked.
void LayOutTokens(PlanData& plan) {
  const Sizes& sizes = plan.sizes;
  bool one_run = true;
  for (const TensorId id : kTokenTensors) {
    const Axes& axes = plan.axes_of(id);
    one_run = one_run && (sizes.seq_len == 1 || axes.batch == axes.seq * sizes.seq_len);
  }
  one_run = one_run || sizes.batch_size == 1;
  plan.outer = one_run ? 1 : sizes.batch_size;
  plan.inner = one_run ? sizes.num_tokens : sizes.seq_len;
}

// Whether kernels can walk the channels of every tensor. Scales and offsets may have any strides.
bool ChannelsAreDense(const PlanData& plan) {
  for (const TensorId id :
       {TensorId::kX, TensorId::kCos, TensorId::kSin, TensorId::kKCache, TensorId::kVCache,
        TensorId::kWeightScale, TensorId::kBias, TensorId::kQ, TensorId::kK, TensorId::kV}) {
    // Nobody walks the channels of a tensor that is absent or empty.
    if (plan.footprints[static_cast<size_t>(id)].length == 0) continue;
    if (plan.axes_of(id).channel != 1) return false;
  }
  return true;
}

// As far as strides tell.
bool RowsAreWholeLines(const PlanData& plan) {
  int64_t bits = 0;
  for (const TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
    const auto& strides = (plan.normalised.*kTensorFields[static_cast<size_t>(id)].spec).stride;
    bits |= strides[0] | strides[1] | strides[2];
  }
  for (const TensorId id : {TensorId::kQ, TensorId::kK, TensorId::kV}) {
    const Axes& axes = plan.axes_of(id);
    bits |= (axes.batch | axes.seq | axes.head) * ElementBytes(plan.normalised.q.dtype);
  }
  return bits % kLineBytes == 0;
}

// The block in which heads are packed that are too short for every kernel.
constexpr int64_t kShortestHeadDim = 16;

void ChooseKernels(PlanData& plan) {
  const Spec& spec = plan.normalised;
  if (spec.positions.present() || plan.sizes.half_width_angles || spec.x.dtype == DType::kF32 ||
      plan.sizes.rotary_dim != plan.sizes.head_dim || spec.rotary_style != RotaryStyle::kHalf ||
      spec.cos.dtype == DType::kF32 || spec.k_cache.dtype != DType::kI8 ||
      spec.indices.dtype != DType::kI32 || spec.indices.rank != 1) {
    return;  // no kernel yet
  }
  for (const TensorId id :
       {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV}) {
    const TensorSpec& scale = spec.*kTensorFields[static_cast<size_t>(id)].spec;
    if (scale.present() && scale.shape[scale.rank - 1] == 1) return;
  }
  // With bf16 tables the two numerics are one.
  const bool ascend = spec.numerics == Numerics::kAscend && spec.cos.dtype == DType::kF16;
  const auto find = [&](int64_t head_dim, Reach reach) {
    return FindKernel(plan.target, spec.x.dtype, spec.cos.dtype,
                      ascend ? Numerics::kAscend : Numerics::kFloat32, BiasKindOf(spec.bias.dtype),
                      head_dim, reach);
  };
  plan.packed = plan.sizes.head_dim > kMaxHeadDim || !ChannelsAreDense(plan);
  plan.kernel_head_dim =
      plan.packed ? std::min(plan.sizes.head_dim, kMaxPackedHeadDim) : plan.sizes.head_dim;
  const bool beyond = plan.sizes.num_tokens > plan.cache_bytes / plan.bytes_per_token;
  const Reach reach = beyond ? Reach::kBeyond : Reach::kInCaches;
  plan.kernel = find(plan.kernel_head_dim, reach);
  if (plan.kernel.run == nullptr) {
    plan.packed = true;
    plan.kernel_head_dim = kShortestHeadDim;
    plan.kernel = find(plan.kernel_head_dim, reach);
  }
  if (plan.packed || !beyond || !RowsAreWholeLines(plan)) return;
  const Kernel kernel = find(plan.kernel_head_dim, Reach::kWholeLines);
  if (kernel.streams) plan.streaming_kernel = kernel;
}

ScaleView ViewOf(const PlanData& plan, TensorId id) {
  return {nullptr, plan.axes_of(id).head, plan.axes_of(id).channel};
}

PartCall LayOutPart(const PlanData& plan, int64_t heads, int64_t heads_before, TensorId out,
                    TensorId cache, TensorId scale, TensorId offset) {
  PartCall part;
  part.num_heads = heads;
  part.first_channel = heads_before * plan.sizes.head_dim;
  part.out_token_stride = plan.token_stride(out);
  part.out_head_stride = plan.axes_of(out).head;
  if (cache == TensorId::kNoTensor) return part;
  part.cache_head_stride = plan.axes_of(cache).head;
  part.scale = ViewOf(plan, scale);
  part.offset = ViewOf(plan, offset);
  return part;
}

void LayOutCall(PlanData& plan) {
  const Sizes& sizes = plan.sizes;
  KernelCall& call = plan.call;
  call.head_dim = sizes.head_dim;
  call.x_token_stride = plan.token_stride(TensorId::kX);
  call.activation_stride = plan.token_stride(TensorId::kActivationScale);
  call.bias_dtype = plan.normalised.bias.dtype;
  call.q = LayOutPart(plan, sizes.num_q_heads, 0, TensorId::kQ, TensorId::kNoTensor,
                      TensorId::kNoTensor, TensorId::kNoTensor);
  call.k = LayOutPart(plan, sizes.num_kv_heads, sizes.num_q_heads, TensorId::kK, TensorId::kKCache,
                      TensorId::kScaleK, TensorId::kOffsetK);
  call.v = LayOutPart(plan, sizes.num_kv_heads, sizes.num_q_heads + sizes.num_kv_heads,
                      TensorId::kV, TensorId::kVCache, TensorId::kScaleV, TensorId::kOffsetV);
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

Result<std::shared_ptr<const PlanData>> BuildPlan(const Spec& spec, int64_t cache_bytes) {
  auto plan = std::make_shared<PlanData>();
  plan->spec = plan->normalised = spec;
  if (Status status = CheckSpec(plan->normalised, plan->sizes, plan->footprints); !status.ok()) {
    return status;
  }
  DropIdleStrides(*plan);
  const Result<Target> target = ChooseTarget(spec.target);
  if (!target.ok()) return target.status();
  plan->target = target.value();
  for (const TensorField& field : kTensorFields) {
    plan->axes[static_cast<size_t>(field.id)] = AxesOf(*plan, field.id);
  }
  LayOutTokens(*plan);
  LayOutCall(*plan);
  plan->bytes_per_token = BytesPerToken(plan->normalised, plan->sizes);
  plan->cache_bytes = cache_bytes;
  ChooseKernels(*plan);
  if (plan->kernel.run == nullptr) {
    return Status(StatusCode::kInternal, "target",
                  "no kernel for " + std::string(Name(plan->target)));
  }
  return std::shared_ptr<const PlanData>(std::move(plan));
}

}  // namespace

const Kernel& ChooseKernel(const PlanData& plan, const Args& args) {
  if (plan.streaming_kernel.run == nullptr) return plan.kernel;
  uintptr_t bits = 0;
  for (const TensorField& field : kTensorFields) {
    // k and v may point anywhere if they are not wanted.
    if (!field.output || plan.footprints[static_cast<size_t>(field.id)].length == 0) continue;
    bits |= reinterpret_cast<uintptr_t>(field.address(args));
  }
  return bits % kLineBytes == 0 ? plan.streaming_kernel : plan.kernel;
}

Result<Plan> MakePlan(const Spec& spec, int64_t cache_bytes) {
  auto built = BuildPlan(spec, cache_bytes);
  if (!built.ok()) return built.status();
  return Plan(std::move(built).value());
}

}  // namespace internal

const Spec& Plan::spec() const noexcept { return data_->spec; }
int64_t Plan::num_tokens() const noexcept { return data_->sizes.num_tokens; }
Target Plan::target() const noexcept { return data_->target; }

Result<Plan> MakePlan(const Spec& spec) noexcept {
  try {
    return internal::MakePlan(spec, internal::kCacheShareBytes);
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kOutOfMemory, "memory", "exhausted");  // short: not allocated
  }
}

}  // namespace ropekv
