// SPDX-License-Identifier: Apache-2.0
// Every rule about a Spec, in the order: presence, dtypes, shapes, strides, device limits. The
// first that fails is the answer.
#include "plan/checks.h"

#include <cstddef>
#include <string>

namespace ropekv::internal {
namespace {

// What the device's own operator refuses.
class Limits : public SpecRules {
 public:
  Limits(Spec& spec, const Sizes& sizes) : SpecRules(spec), sizes_(sizes) {}

  bool Hold() { return Sizes() && DTypes() && Features() && Scales(); }

 private:
  bool Refuse(TensorId id, const std::string& detail) {
    return Fail(StatusCode::kDeviceLimit, id, detail);
  }

  bool Sizes() {
    if (sizes_.hidden > 4096 || sizes_.hidden % 64 != 0) {
      return Refuse(TensorId::kX, "has a last dimension of " + std::to_string(sizes_.hidden) +
                                      "; the device takes multiples of 64 up to 4096");
    }
    if (sizes_.head_dim % 16 == 0) return true;
    return Refuse(TensorId::kKCache, "has head_dim " + std::to_string(sizes_.head_dim) +
                                         "; the device takes multiples of 16");
  }

  bool DTypes() {
    for (const TensorId id : {TensorId::kX, TensorId::kQ, TensorId::kCos}) {
      if (Tensor(id).dtype == DType::kF32) {
        return Refuse(id, "has dtype f32, which the device does not take");
      }
    }
    if (spec_.k_cache.dtype != DType::kI8) {
      return Refuse(TensorId::kKCache, "has dtype " + std::string(Name(spec_.k_cache.dtype)) +
                                           "; the device takes i8");
    }
    if (spec_.indices.dtype != DType::kI32 || spec_.indices.rank != 1) {
      return Refuse(TensorId::kIndices, "must be i32 and one-dimensional for the device");
    }
    return true;
  }

  bool Features() {
    if (spec_.positions.present()) {
      return Refuse(TensorId::kPositions, "is given; the device takes a row of cos a token");
    }
    if (sizes_.half_width_angles) {
      return Refuse(TensorId::kCos, "has an entry a pair; the device takes one a channel");
    }
    if (sizes_.rotary_dim != sizes_.head_dim) {
      return Fail(StatusCode::kDeviceLimit, "rotary_dim",
                  "is below head_dim, which the device takes");
    }
    if (spec_.rotary_style != RotaryStyle::kHalf) {
      return Fail(StatusCode::kDeviceLimit, "rotary_style",
                  "is interleaved; the device takes half");
    }
    return true;
  }

  bool Scales() {
    for (const TensorId id :
         {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV}) {
      const TensorSpec& tensor = Tensor(id);
      if (tensor.present() && tensor.shape[tensor.rank - 1] == 1) {
        return Refuse(id, "is for a head or for all; the device takes one a channel");
      }
    }
    if (spec_.offset_k.present() == spec_.offset_v.present()) return true;
    return Refuse(spec_.offset_k.present() ? TensorId::kOffsetV : TensorId::kOffsetK,
                  "is absent; the device uses both offsets or none");
  }

  const ropekv::internal::Sizes& sizes_;
};

void DropIgnored(Spec& spec) {
  if (spec.x.dtype != DType::kI32) {
    spec.weight_scale = spec.activation_scale = spec.bias = TensorSpec{};
  }
  if (!spec.kv_output) spec.k = spec.v = TensorSpec{};
}

}  // namespace

Status CheckDeviceLimits(Spec& spec, const Sizes& sizes) {
  Limits limits(spec, sizes);
  limits.Hold();
  return limits.TakeStatus();
}

Status CheckSpec(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints) {
  DropIgnored(spec);
  Status status = CheckDTypes(spec);
  if (status.ok()) status = CheckShapes(spec, sizes, footprints);
  if (status.ok() && spec.strict_device_limits) status = CheckDeviceLimits(spec, sizes);
  return status;
}

}  // namespace ropekv::internal
