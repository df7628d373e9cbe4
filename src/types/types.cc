// SPDX-License-Identifier: Apache-2.0
#include "ropekv/types.h"

#include <cstddef>
#include <string>

#include "ropekv/ropekv.h"

namespace ropekv {

const char* Name(DType dtype) noexcept {
  switch (dtype) {
    case DType::kNone: return "none";
    case DType::kI8: return "i8";
    case DType::kI32: return "i32";
    case DType::kF16: return "f16";
    case DType::kBF16: return "bf16";
    case DType::kF32: return "f32";
    case DType::kI64: return "i64";
  }
  return "invalid";
}

TensorSpec Dense(DType dtype, std::initializer_list<int64_t> shape) noexcept {
  TensorSpec tensor;
  tensor.dtype = dtype;
  tensor.rank = static_cast<int>(shape.size());
  if (shape.size() > TensorSpec::kMaxRank) return tensor;
  int dim = 0;
  for (const int64_t extent : shape) tensor.shape[dim++] = extent;
  // Unsigned: extents whose product overflows are for MakePlan to refuse.
  uint64_t stride = 1;
  for (dim = tensor.rank - 1; dim >= 0; --dim) {
    tensor.stride[dim] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(tensor.shape[dim]);
  }
  return tensor;
}

Spec DenseSpec(const Shape& shape) noexcept {
  // Unsigned, as in Dense. A product that overflows contradicts its factors, which are extents too.
  const auto times = [](uint64_t a, uint64_t b) { return static_cast<int64_t>(a * b); };
  const auto per_token = [&](DType dtype, auto... extents) {
    return shape.seq_len ? Dense(dtype, {shape.batch, *shape.seq_len, extents...})
                         : Dense(dtype, {shape.batch, extents...});
  };
  const int64_t kv_heads = shape.num_kv_heads;
  const int64_t head_dim = shape.head_dim;
  const int64_t q_size = times(shape.num_q_heads, head_dim);
  const int64_t kv_size = times(kv_heads, head_dim);
  const int64_t hidden = times(shape.num_q_heads + 2 * static_cast<uint64_t>(kv_heads), head_dim);
  const int64_t num_tokens = times(shape.batch, shape.seq_len.value_or(1));
  const bool paged = shape.cache_layout == CacheLayout::kPaged;
  const auto [first, second] = shape.cache_shape;
  const int64_t rotary_dim = shape.rotary_dim == 0 ? head_dim : shape.rotary_dim;
  const int64_t angles = shape.half_width_angles ? rotary_dim / 2 : rotary_dim;
  const DType angles_dtype =
      shape.angles_dtype == DType::kNone ? shape.out_dtype : shape.angles_dtype;

  Spec spec;
  spec.x = per_token(shape.x_dtype, hidden);
  if (shape.num_positions != 0) {
    spec.positions = Dense(shape.index_dtype, {num_tokens});
    spec.cos = Dense(angles_dtype, {shape.num_positions, angles});
  } else {
    spec.cos = shape.seq_len ? per_token(angles_dtype, int64_t{1}, angles)
                             : per_token(angles_dtype, angles);
  }
  spec.sin = spec.cos;
  spec.k_cache = spec.v_cache = Dense(shape.cache_dtype, {first, second, kv_heads, head_dim});
  spec.indices = Dense(shape.index_dtype, {paged ? num_tokens : shape.batch});
  if (shape.cache_dtype == DType::kI8) {
    spec.scale_k = spec.scale_v = Dense(DType::kF32, {kv_heads, head_dim});
  }
  if (shape.offsets) spec.offset_k = spec.offset_v = spec.scale_k;
  if (shape.x_dtype == DType::kI32) spec.weight_scale = Dense(DType::kF32, {hidden});
  if (shape.activation_scale) spec.activation_scale = Dense(DType::kF32, {num_tokens});
  if (shape.bias_dtype != DType::kNone) spec.bias = Dense(shape.bias_dtype, {hidden});
  spec.q = per_token(shape.out_dtype, shape.num_q_heads, head_dim);
  if (shape.kv_output) spec.k = spec.v = per_token(shape.out_dtype, kv_heads, head_dim);
  spec.size_splits = {q_size, kv_size, kv_size};
  spec.rotary_dim = shape.rotary_dim;
  spec.rotary_style = shape.rotary_style;
  spec.cache_layout = shape.cache_layout;
  spec.kv_output = shape.kv_output;
  return spec;
}

const char* Name(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::kOk: return "ok";
    case StatusCode::kNullPointer: return "null pointer";
    case StatusCode::kBadDType: return "bad dtype";
    case StatusCode::kBadShape: return "bad shape";
    case StatusCode::kDeviceLimit: return "device limit";
    case StatusCode::kBadIndex: return "bad index";
    case StatusCode::kBadPointer: return "bad pointer";
    case StatusCode::kBadOption: return "bad option";
    case StatusCode::kOutOfMemory: return "out of memory";
    case StatusCode::kInternal: return "internal error";
  }
  return "invalid";
}

std::string Status::message() const {
  if (ok()) return {};
  if (tensor_ == TensorId::kNoTensor) return culprit_ + ": " + detail_;
  return std::string(kTensorFields[static_cast<size_t>(tensor_)].name) + ": " + detail_;
}

const char* Version() noexcept { return ROPEKV_VERSION; }

}  // namespace ropekv
