// SPDX-License-Identifier: Apache-2.0
#include "support/sampler.h"

#include <algorithm>
#include <numeric>

#include "kernels/variants.h"
#include "plan/overlap.h"

namespace ropekv::testing {
namespace {

// Gives a row-major tensor other strides with the same elements.
void Restride(Rng& rng, bool is_output, TensorSpec& tensor) {
  if (!tensor.present() || tensor.rank == 0) return;
  // Lay the dimensions out in some order, with gaps.
  int order[TensorSpec::kMaxRank];
  std::iota(order, order + tensor.rank, 0);
  if (rng.Chance(0.2)) std::swap(order[0], order[rng.Int(0, tensor.rank - 1)]);
  if (tensor.rank == 4 && rng.Chance(0.2)) std::swap(order[1], order[2]);  // a cache by heads
  int64_t stride = rng.Chance(0.25) ? rng.Int(2, 3) : 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    const int dim = order[i];
    tensor.stride[dim] = stride;
    stride =
        stride * std::max<int64_t>(1, tensor.shape[dim]) + (rng.Chance(0.4) ? rng.Int(1, 9) : 0);
  }
  if (is_output) return;
  for (int i = 0; i < tensor.rank; ++i) {
    if (rng.Chance(0.1)) tensor.stride[i] = -tensor.stride[i];
    if (rng.Chance(0.05)) tensor.stride[i] = 0;
  }
}

// The sizes of a call, and what the NPU's operator can be told besides.
Shape SampleShape(Rng& rng, const Variant& variant, int64_t max_tokens) {
  const int64_t head_dim = rng.Chance(0.5) ? rng.Pick<int64_t>({64, 80, 96, 128, 256})
                                           : (rng.Chance(0.1) ? rng.Pick<int64_t>({512, 514, 1030})
                                                              : 2 * rng.Int(1, 40));
  const bool has_seq = rng.Chance(0.6);
  const int64_t seq = has_seq ? rng.Int(1, 7) : 1;
  const int64_t batch = rng.Chance(0.03) ? 0 : rng.Int(1, std::max<int64_t>(1, max_tokens / seq));
  const int64_t tokens = batch * seq;
  Shape shape{.batch = batch,
              .num_q_heads = rng.Int(1, 6),
              .num_kv_heads = rng.Int(1, 3),
              .head_dim = head_dim,
              .x_dtype = variant.source,
              .out_dtype = variant.output,
              .kv_output = rng.Chance(0.5)};
  if (has_seq) shape.seq_len = seq;
  if (rng.Chance(0.5)) {
    const int64_t block_size = rng.Pick<int64_t>({1, 3, 16});
    const int64_t blocks = (tokens + block_size - 1) / block_size + rng.Int(0, 3);
    shape.cache_layout = CacheLayout::kPaged;
    shape.cache_shape = {blocks, block_size};
  } else {
    const int64_t length = seq + rng.Int(0, 9);
    shape.cache_shape = {batch + rng.Int(0, 1), length};
  }
  if (variant.source == DType::kI32) {
    shape.activation_scale = rng.Chance(0.6);
    shape.bias_dtype =
        rng.Pick({DType::kNone, DType::kF32, DType::kF16, DType::kBF16, DType::kI32});
  }
  return shape;
}

// What the NPU's operator does not have. All of it together, each often enough to meet each other.
void SampleFeatures(Rng& rng, Shape& shape) {
  if (rng.Chance(0.5)) {
    shape.rotary_dim =
        rng.Chance(0.2) ? shape.head_dim
        : rng.Chance(0.4)
            ? std::min(rng.Pick<int64_t>({32, 64, 64}), shape.head_dim)
            : 2 * rng.Int(1, rng.Chance(0.5) ? shape.head_dim / 2
                                             : std::max<int64_t>(1, shape.head_dim / 8));
  }
  if (rng.Chance(0.4)) shape.rotary_style = RotaryStyle::kInterleaved;
  if (rng.Chance(0.4)) shape.half_width_angles = true;
  if (rng.Chance(0.4)) {
    const int64_t tokens = shape.batch * shape.seq_len.value_or(1);
    shape.num_positions = rng.Pick({int64_t{1}, std::max<int64_t>(1, tokens), tokens + 17});
  }
  if (rng.Chance(0.4)) shape.index_dtype = DType::kI64;
  // With these angles `ascend` is `float32`.
  if (rng.Chance(0.3)) shape.angles_dtype = DType::kF32;
  if (rng.Chance(0.4)) shape.cache_dtype = rng.Pick({DType::kF16, DType::kBF16, DType::kF32});
}

// The same entries in two dimensions.
void Fold(Rng& rng, TensorSpec& integers) {
  const int64_t count = integers.shape[0];
  const int64_t rows = rng.Int(1, std::max<int64_t>(1, count));
  integers = count % rows == 0 ? Dense(integers.dtype, {rows, count / rows})
                               : Dense(integers.dtype, {count, 1});
}

void SampleScales(Rng& rng, bool device_only, Spec& spec) {
  const int64_t heads = spec.k_cache.shape[2], head_dim = spec.k_cache.shape[3];
  if (rng.Chance(0.5)) spec.offset_k = spec.scale_k;
  if (rng.Chance(0.5)) spec.offset_v = spec.scale_v;
  for (TensorSpec* tensor : {&spec.scale_k, &spec.scale_v, &spec.offset_k, &spec.offset_v}) {
    if (!tensor->present()) continue;
    if (rng.Chance(0.3)) *tensor = Dense(DType::kF32, {heads * head_dim});
    if (device_only) continue;
    if (rng.Chance(0.2)) *tensor = Dense(DType::kF32, {heads, 1});
    if (rng.Chance(0.2)) *tensor = Dense(DType::kF32, {1});
  }
}

// Other strides for some tensors.
void Restride(Rng& rng, Spec& spec) {
  // Few tensors at a time, so that the dense kernels are met as often as the strided ones.
  const double chance = rng.Pick({0.0, 0.0, 0.1, 0.5});
  for (const TensorField& field : kTensorFields) {
    if (!rng.Chance(chance)) continue;
    // Slots must be distinct, so that their tensor is strided as an output is, or backwards.
    const bool slots = field.id == TensorId::kIndices && spec.cache_layout == CacheLayout::kPaged;
    TensorSpec& tensor = spec.*field.spec;
    Restride(rng, field.output != nullptr || slots, tensor);
    if (slots && rng.Chance(0.3)) tensor.stride[0] = -tensor.stride[0];
  }
  // Two views of one table, which has cos in the first half of a row and sin in the second.
  if (spec.positions.present() && rng.Chance(0.3)) {
    const int64_t width = spec.cos.shape[1];
    spec.cos.stride = spec.sin.stride = {2 * width, 1};
  }
}

}  // namespace

const std::vector<Variant>& AllVariants() {
#define ROPEKV_VARIANT_ROW(SOURCE, OUTPUT, NUMERICS) \
  {DType::SOURCE, DType::OUTPUT, Numerics::NUMERICS, #SOURCE "_" #OUTPUT "_" #NUMERICS},
  static const std::vector<Variant> variants = {ROPEKV_VARIANTS(ROPEKV_VARIANT_ROW)};
#undef ROPEKV_VARIANT_ROW
  return variants;
}

Spec SampleSpec(Rng& rng, const Variant& variant, const SampleOptions& options) {
  Shape shape = SampleShape(rng, variant, options.max_tokens);
  if (!options.device_only && rng.Chance(0.8)) SampleFeatures(rng, shape);
  Spec spec = DenseSpec(shape);
  spec.numerics = variant.numerics;
  if (spec.k_cache.dtype == DType::kI8) SampleScales(rng, options.device_only, spec);
  if (!options.device_only) {
    if (rng.Chance(0.3)) Fold(rng, spec.indices);
    if (spec.positions.present() && rng.Chance(0.5)) Fold(rng, spec.positions);
  }
  if (options.strided) Restride(rng, spec);
  return spec;
}

Extent ExtentOf(const TensorSpec& tensor) {
  const auto footprint = internal::MakeFootprint(tensor);
  if (!footprint) return {};
  return {static_cast<size_t>(footprint->length), static_cast<size_t>(-footprint->first_byte)};
}

}  // namespace ropekv::testing
