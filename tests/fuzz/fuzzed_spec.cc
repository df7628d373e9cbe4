// SPDX-License-Identifier: Apache-2.0
#include "fuzz/fuzzed_spec.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace ropekv::testing {
namespace {

constexpr int64_t kHeadDims[] = {2,  4,  8,  16, 32, 64, 6,   10,  18,  20,  30, 34,
                                 40, 48, 62, 66, 80, 96, 128, 130, 256, 514, 0,  3};
constexpr int64_t kExtremes[] = {0,
                                 1,
                                 -1,
                                 2,
                                 std::numeric_limits<int64_t>::max(),
                                 std::numeric_limits<int64_t>::min(),
                                 int64_t{1} << 31,
                                 int64_t{1} << 32,
                                 int64_t{1} << 61,
                                 int64_t{1} << 62,
                                 -(int64_t{1} << 62)};

int64_t AnyNumber(FuzzedDataProvider& in) {
  switch (in.ConsumeIntegralInRange(0, 3)) {
    case 0: return in.PickValueInArray(kExtremes);
    case 1: return in.ConsumeIntegral<int64_t>();
    default: return in.ConsumeIntegralInRange<int64_t>(-3, 200);
  }
}

DType AnyDType(FuzzedDataProvider& in) {
  return static_cast<DType>(in.ConsumeIntegralInRange<int>(0, 7));  // the last is none
}

// What the operator can do beyond the plainest call, a few at a time.
void AddFeatures(FuzzedDataProvider& in, Shape& shape) {
  const auto one_in = [&](int n) { return in.ConsumeIntegralInRange(1, n) == n; };
  if (one_in(4)) shape.angles_dtype = DType::kF32;
  if (one_in(4)) {
    shape.cache_dtype = in.PickValueInArray({DType::kF16, DType::kBF16, DType::kF32});
    shape.offsets = false;
  }
  if (one_in(3)) shape.index_dtype = DType::kI64;
  if (one_in(3)) shape.num_positions = in.ConsumeIntegralInRange(1, 6);
  if (one_in(3)) {
    shape.rotary_dim = in.ConsumeIntegralInRange<int64_t>(0, shape.head_dim / 2 + 1) * 2;
  }
  if (one_in(3)) shape.rotary_style = RotaryStyle::kInterleaved;
  shape.half_width_angles = one_in(3);
}

// Of one entry for each head or for all.
void NarrowScale(FuzzedDataProvider& in, int64_t heads, TensorSpec& scale) {
  if (!scale.present()) return;
  switch (in.ConsumeIntegralInRange(0, 5)) {
    case 0: scale = Dense(scale.dtype, {heads, 1}); break;
    case 1: scale = Dense(scale.dtype, {1}); break;
    default: break;
  }
}

void ChangeTensor(FuzzedDataProvider& in, TensorSpec& tensor) {
  const auto dim = static_cast<size_t>(in.ConsumeIntegralInRange(0, TensorSpec::kMaxRank - 1));
  const auto other = static_cast<size_t>(in.ConsumeIntegralInRange(0, TensorSpec::kMaxRank - 1));
  switch (in.ConsumeIntegralInRange(0, 10)) {
    case 0: tensor = {}; break;
    case 1: tensor.dtype = AnyDType(in); break;
    case 2: tensor.rank = in.ConsumeIntegralInRange(-1, 5); break;
    case 3: tensor.shape[dim] = AnyNumber(in); break;
    case 4: tensor.stride[dim] = AnyNumber(in); break;
    case 5: tensor.stride[dim] = 0; break;
    case 6:
      tensor.stride[dim] = static_cast<int64_t>(0 - static_cast<uint64_t>(tensor.stride[dim]));
      break;
    case 7: std::swap(tensor.stride[dim], tensor.stride[other]); break;
    case 8: {
      const auto factor = in.ConsumeIntegralInRange<uint64_t>(2, 3);
      for (int64_t& stride : tensor.stride) {
        stride = static_cast<int64_t>(static_cast<uint64_t>(stride) * factor);
      }
      break;
    }
    case 9: {
      // A gap behind each row.
      const auto gap = in.ConsumeIntegralInRange<uint64_t>(1, 70);
      for (size_t i = 0; i <= dim; ++i) {
        tensor.stride[i] = static_cast<int64_t>(static_cast<uint64_t>(tensor.stride[i]) + gap);
      }
      break;
    }
    default: tensor.stride = {}; break;
  }
}

}  // namespace

Spec FuzzedSpec(FuzzedDataProvider& in) {
  const auto small = [&](int64_t most) { return in.ConsumeIntegralInRange<int64_t>(0, most); };
  Shape shape;
  shape.batch = small(5);
  if (in.ConsumeBool()) shape.seq_len = small(3);
  shape.num_q_heads = small(3);
  shape.num_kv_heads = small(3);
  shape.head_dim = in.PickValueInArray(kHeadDims);
  shape.x_dtype = in.PickValueInArray({DType::kI32, DType::kF16, DType::kBF16, DType::kF32});
  shape.out_dtype = in.PickValueInArray({DType::kF16, DType::kBF16, DType::kF32});
  if (shape.x_dtype != DType::kI32 && in.ConsumeIntegralInRange(0, 15) != 0) {
    shape.out_dtype = shape.x_dtype;
  }
  shape.kv_output = in.ConsumeBool();
  shape.offsets = in.ConsumeBool();
  shape.activation_scale = in.ConsumeBool();
  shape.bias_dtype =
      in.PickValueInArray({DType::kNone, DType::kF32, DType::kF16, DType::kBF16, DType::kI32});
  if (in.ConsumeBool()) {
    shape.cache_layout = CacheLayout::kPaged;
    shape.cache_shape = {small(6), small(4)};
  } else {
    shape.cache_shape = {shape.batch + small(1), shape.seq_len.value_or(1) + small(3)};
  }
  AddFeatures(in, shape);
  Spec spec = DenseSpec(shape);
  spec.numerics = in.ConsumeBool() ? Numerics::kAscend : Numerics::kFloat32;
  spec.strict_device_limits = in.ConsumeIntegralInRange(0, 15) == 0;
  const auto usable = UsableTargets();
  const size_t target = in.ConsumeIntegralInRange<size_t>(0, usable.size() + 1);
  spec.target = target < usable.size()    ? usable[target]
                : target == usable.size() ? Target::kBest
                                          : static_cast<Target>(in.ConsumeIntegralInRange(0, 9));
  if (in.ConsumeIntegralInRange(0, 3) == 0) spec.offset_k = {};
  for (TensorSpec* scale : {&spec.scale_k, &spec.scale_v, &spec.offset_k, &spec.offset_v}) {
    NarrowScale(in, shape.num_kv_heads, *scale);
  }
  for (TensorSpec* entries : {&spec.indices, &spec.positions}) {
    if (!entries->present() || in.ConsumeIntegralInRange(0, 3) != 0) continue;
    const int64_t count = entries->shape[0], columns = in.ConsumeIntegralInRange(1, 3);
    *entries = Dense(entries->dtype, {count / columns, columns});
  }
  if (spec.scale_v.present() && in.ConsumeIntegralInRange(0, 3) == 0) {
    spec.scale_v = Dense(DType::kF32, {shape.num_kv_heads * shape.head_dim});
  }
  for (int changes = in.ConsumeIntegralInRange(0, 15) / 4; changes > 0; --changes) {
    const auto tensor = in.ConsumeIntegralInRange<size_t>(0, kNumTensors);
    if (tensor < kNumTensors) {
      ChangeTensor(in, spec.*kTensorFields[tensor].spec);
    } else {
      spec.size_splits[in.ConsumeIntegralInRange<size_t>(0, 2)] = AnyNumber(in);
    }
  }
  return spec;
}

RunOptions FuzzedOptions(FuzzedDataProvider& in, int64_t num_tokens) {
  RunOptions options;
  options.num_threads = 1;
  switch (in.ConsumeIntegralInRange(0, 7)) {
    case 0: options.num_threads = in.ConsumeIntegralInRange(-2, 3); break;
    case 1: options.token_begin = AnyNumber(in); break;
    case 2: options.token_end = AnyNumber(in); break;
    case 3:
      options.token_begin = in.ConsumeIntegralInRange<int64_t>(0, std::max<int64_t>(num_tokens, 0));
      options.token_end = in.ConsumeIntegralInRange<int64_t>(options.token_begin, num_tokens);
      break;
    default: break;
  }
  return options;
}

}  // namespace ropekv::testing
