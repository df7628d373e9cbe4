// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>

#include "plan/failure.h"

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
    const bool empty = plan.footprint_of(field.id).length == 0;
    for (int i = 0; i < tensor.rank; ++i) {
      if (empty || tensor.shape[i] == 1) tensor.stride[i] = 0;
    }
  }
}

Axes AxesOf(const PlanData& plan, TensorId id) {
  const TensorSpec& t = plan.normalised.*kTensorFields[static_cast<size_t>(id)].spec;
  const bool has_seq = plan.normalised.x.rank == 3;
  const auto& s = t.stride;
  if (!t.present()) return {};  // its strides may be anything
  switch (id) {
    case TensorId::kX: return has_seq ? Axes{s[0], s[1], 0, s[2]} : Axes{s[0], 0, 0, s[1]};
    case TensorId::kCos:
    case TensorId::kSin: return t.rank == 4 ? Axes{s[0], s[1], 0, s[3]} : Axes{s[0], 0, 0, s[1]};
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
    const bool table = id == TensorId::kCos || id == TensorId::kSin;
    if (table && plan.normalised.positions.present()) continue;
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
    if (plan.footprint_of(id).length == 0) continue;
    if (plan.axes_of(id).channel != 1) return false;
  }
  return true;
}

// As far as strides tell.
bool RowsAreWholeLines(const PlanData& plan) {
  int64_t bits = 0;
  for (const TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
    const TensorSpec& cache = plan.normalised.*kTensorFields[static_cast<size_t>(id)].spec;
    bits |= (cache.stride[0] | cache.stride[1] | cache.stride[2]) * ElementBytes(cache.dtype);
  }
  for (const TensorId id : {TensorId::kQ, TensorId::kK, TensorId::kV}) {
    const Axes& axes = plan.axes_of(id);
    bits |= (axes.batch | axes.seq | axes.head) * ElementBytes(plan.normalised.q.dtype);
  }
  return bits % kLineBytes == 0;
}

KernelTraits TraitsOf(const PlanData& plan) {
  const Spec& spec = plan.normalised;
  const DType cache = spec.k_cache.dtype, out = spec.q.dtype;
  return {.source = spec.x.dtype,
          .output = out,
          .numerics = plan.call.ascend ? Numerics::kAscend : Numerics::kFloat32,
          .style = spec.rotary_style,
          .wide_angles = spec.cos.dtype == DType::kF32 && out != DType::kF32,
          .other_caches = cache != DType::kI8 && cache != out,
          .k_offsets = spec.offset_k.present(),
          .head_dim = plan.sizes.head_dim,
          .rotary_dim = plan.sizes.rotary_dim,
          .ahead = false,
          .whole_lines = false};
}

// How far ahead of the kernels x is asked for: further than the processor's own prefetcher runs
// ahead of a loop that computes, and not so far that lines are gone again before they are used.
// int32 x is read in four rows at a time. For 16 bits Zen 5 takes 5 to 30 % longer with other
// distances, and Granite Rapids 4 to 11 % longer with 6 KB than with 2.
int64_t AheadBytes(DType x) {
#if defined(__x86_64__)
  if (__builtin_cpu_is("intel")) return 2048;
#endif
  return x == DType::kI32 ? 2048 : 6144;
}

void ChooseKernels(PlanData& plan) {
  KernelTraits traits = TraitsOf(plan);
  const auto find = [&] { return FindKernel(plan.target, traits); };
  const auto pack = [&](int64_t head_dim) {
    plan.packed = true;
    plan.kernel_head_dim = traits.head_dim = traits.rotary_dim = head_dim;
    plan.kernel = find();
  };
  traits.ahead = plan.sizes.num_tokens > plan.cache_bytes / plan.bytes_per_token;
  plan.call.ahead_bytes = traits.ahead ? AheadBytes(plan.normalised.x.dtype) : 0;
  plan.kernel_head_dim = traits.head_dim;
  if (traits.head_dim > kMaxHeadDim || !ChannelsAreDense(plan)) {
    pack(std::min(traits.head_dim, kMaxPackedHeadDim));
  } else {
    plan.kernel = find();
  }
  plan.call.rotary_half = plan.kernel.Half(plan.call.rotary_dim, plan.call.interleaved);
  for (PartCall& part : plan.parts) {
    part.half = plan.kernel.Half(part.channels, part.rotated && plan.call.interleaved);
  }
  if (plan.packed || !traits.ahead || !RowsAreWholeLines(plan)) return;
  traits.whole_lines = true;
  const Kernel kernel = find();
  if (kernel.streams) plan.streaming_kernel = kernel;
}

ScaleView ViewOf(const PlanData& plan, TensorId id) {
  return {nullptr, plan.axes_of(id).head, plan.axes_of(id).channel};
}

// q, k or v, as parts of the call.
class PartLayout {
 public:
  explicit PartLayout(PlanData& plan) : plan_(plan) {}

  void AddOutput(TensorId out, int64_t heads, int64_t heads_before, bool rotated) {
    Add(heads, heads_before, rotated, {.out = out});
  }

  void AddCache(int64_t heads, int64_t heads_before, bool rotated, const PartTensors& tensors) {
    if (plan_.normalised.k_cache.dtype == DType::kI8) {
      return Add(heads, heads_before, rotated, tensors);
    }
    Add(heads, heads_before, rotated, {.cache = tensors.cache});
    if (plan_.normalised.kv_output) AddOutput(tensors.out, heads, heads_before, rotated);
  }

 private:
  // Its rotated channels, and the others.
  void Add(int64_t heads, int64_t heads_before, bool rotated, PartTensors tensors) {
    const int64_t all = plan_.sizes.head_dim, rotary = rotated ? plan_.sizes.rotary_dim : 0;
    PartCall part = Describe(tensors);
    part.num_heads = heads;
    for (const auto& [begin, end] : {std::pair{int64_t{0}, rotary}, std::pair{rotary, all}}) {
      if (begin == end) continue;
      part.rotated = rotated && begin == 0;
      part.first_channel = heads_before * all + begin;
      part.channels = end - begin;
      tensors.channel = part.row_offset = begin;
      const auto at = static_cast<size_t>(plan_.call.num_parts++);
      plan_.parts[at] = part;
      plan_.part_tensors[at] = tensors;
    }
  }

  PartCall Describe(const PartTensors& tensors) const {
    PartCall part;
    if (tensors.out != TensorId::kNoTensor) {
      part.out_token_stride = plan_.token_stride(tensors.out);
      part.out_head_stride = plan_.axes_of(tensors.out).head;
    }
    if (tensors.cache == TensorId::kNoTensor) return part;
    part.row_dtype = plan_.normalised.k_cache.dtype;
    part.row_head_stride = plan_.axes_of(tensors.cache).head;
    part.sink = part.row_dtype == plan_.normalised.q.dtype ? Sink::kStore : Sink::kStoreAny;
    if (tensors.scale == TensorId::kNoTensor) return part;
    part.sink = Sink::kQuantise;
    part.scale = ViewOf(plan_, tensors.scale);
    part.offset = ViewOf(plan_, tensors.offset);
    return part;
  }

  PlanData& plan_;
};

void LayOutCall(PlanData& plan) {
  const Sizes& sizes = plan.sizes;
  KernelCall& call = plan.call;
  call.head_dim = sizes.head_dim;
  call.x_dtype = plan.normalised.x.dtype;
  call.out_dtype = plan.normalised.q.dtype;
  // With tables that are not f16 the two numerics are one.
  call.ascend =
      plan.normalised.numerics == Numerics::kAscend && plan.normalised.cos.dtype == DType::kF16;
  call.interleaved = plan.normalised.rotary_style == RotaryStyle::kInterleaved;
  call.x_token_stride = plan.token_stride(TensorId::kX);
  call.rotary_dim = sizes.rotary_dim;
  call.angles_dtype = plan.normalised.cos.dtype;
  call.half_width_angles = sizes.half_width_angles;
  call.activation_stride = plan.token_stride(TensorId::kActivationScale);
  call.bias_dtype = plan.normalised.bias.dtype;
  using enum TensorId;
  PartLayout layout(plan);
  const int64_t q_heads = sizes.num_q_heads, kv_heads = sizes.num_kv_heads;
  layout.AddOutput(kQ, q_heads, 0, true);
  layout.AddCache(kv_heads, q_heads, true, {kK, kKCache, kScaleK, kOffsetK});
  layout.AddCache(kv_heads, q_heads + kv_heads, false, {kV, kVCache, kScaleV, kOffsetV});
}

// What one token moves, for deciding how many threads are worth waking. Capped: with strides of 0 a
// row may be longer than any memory.
int64_t BytesPerToken(const Spec& spec, const Sizes& sizes) {
  const auto capped = [](int64_t count) { return std::min(count, int64_t{1} << 40); };
  const auto& [q, k, v] = spec.size_splits;
  const int64_t angles = capped(sizes.rotary_dim) * (sizes.half_width_angles ? 1 : 2);
  const int64_t outputs = capped(q) + (spec.kv_output ? 2 * capped(k) : 0);
  return capped(sizes.hidden) * ElementBytes(spec.x.dtype) + angles * ElementBytes(spec.cos.dtype) +
         outputs * ElementBytes(spec.q.dtype) +
         (capped(k) + capped(v)) * ElementBytes(spec.k_cache.dtype);
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
  ListArgTensors(*plan);
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

void ListArgTensors(PlanData& plan) {
  plan.num_arg_tensors = 0;
  for (const TensorField& field : kTensorFields) {
    const Footprint& footprint = plan.footprint_of(field.id);
    if (footprint.length == 0) continue;
    // Element sizes are powers of two.
    plan.arg_tensors[static_cast<size_t>(plan.num_arg_tensors++)] = {
        &field, footprint.first_byte, footprint.length,
        static_cast<uintptr_t>(footprint.element_bytes - 1)};
  }
}

const Kernel& ChooseKernel(const PlanData& plan, const Args& args) {
  if (plan.streaming_kernel.run == nullptr) return plan.kernel;
  uintptr_t bits = 0;
  for (const TensorField& field : kTensorFields) {
    // k and v may point anywhere if they are not wanted.
    if (!field.output || plan.footprint_of(field.id).length == 0) continue;
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
  } catch (...) {
    return internal::StatusOfException();
  }
}

}  // namespace ropekv
