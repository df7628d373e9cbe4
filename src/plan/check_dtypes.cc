// SPDX-License-Identifier: Apache-2.0
// The rules about which tensors there are, and of which dtypes.
#include <cstddef>
#include <initializer_list>
#include <string>

#include "plan/checks.h"

namespace ropekv::internal {
namespace {

using enum DType;

class Rules : public SpecRules {
 public:
  using SpecRules::SpecRules;

  bool Hold() { return Presence() && DTypes(); }

 private:
  bool Require(TensorId id, const char* why) {
    if (Tensor(id).present()) return true;
    return Fail(StatusCode::kNullPointer, id, why);
  }

  bool Presence() {
    for (const TensorId id : {TensorId::kX, TensorId::kCos, TensorId::kSin, TensorId::kKCache,
                              TensorId::kVCache, TensorId::kIndices, TensorId::kQ}) {
      if (!Require(id, "is required but absent")) return false;
    }
    if (spec_.k_cache.dtype == kI8 &&
        (!Require(TensorId::kScaleK, "is required for i8 caches but absent") ||
         !Require(TensorId::kScaleV, "is required for i8 caches but absent"))) {
      return false;
    }
    return (spec_.x.dtype != kI32 ||
            Require(TensorId::kWeightScale, "is required for i32 x but absent")) &&
           (!spec_.kv_output || (Require(TensorId::kK, "is required by kv_output but absent") &&
                                 Require(TensorId::kV, "is required by kv_output but absent")));
  }

  bool DTypeIn(TensorId id, std::initializer_list<DType> legal, const char* why = "") {
    const DType found = Tensor(id).dtype;
    if (found == kNone) return true;  // an absent optional tensor
    std::string shown;
    for (const DType dtype : legal) {
      if (dtype == found) return true;
      shown += (shown.empty() ? "" : ", ") + std::string(Name(dtype));
    }
    return Fail(StatusCode::kBadDType, id,
                "has dtype " + std::string(Name(found)) + "; must be " +
                    (legal.size() > 1 ? "one of " : "") + shown + why);
  }

  bool Angles() {
    const DType out = spec_.q.dtype;
    const bool one = out == kF32;
    return (one ? DTypeIn(TensorId::kCos, {kF32}, ", the dtype of q")
                : DTypeIn(TensorId::kCos, {out, kF32}, ", the dtype of q or f32")) &&
           DTypeIn(TensorId::kSin, {spec_.cos.dtype}, ", the dtype of cos");
  }

  // Scales and offsets are what makes i8 of a value.
  bool Scales() {
    for (const TensorId id :
         {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV}) {
      if (!DTypeIn(id, {kF32})) return false;
      if (spec_.k_cache.dtype == kI8 || !Tensor(id).present()) continue;
      return Fail(StatusCode::kBadDType, id,
                  "is given with caches of " + std::string(Name(spec_.k_cache.dtype)) +
                      "; scales and offsets are for i8 caches only");
    }
    return true;
  }

  bool DTypes() {
    if (!DTypeIn(TensorId::kX, {kI32, kF16, kBF16, kF32})) return false;
    if (!(spec_.x.dtype == kI32 ? DTypeIn(TensorId::kQ, {kF16, kBF16, kF32})
                                : DTypeIn(TensorId::kQ, {spec_.x.dtype}, ", the dtype of x"))) {
      return false;
    }
    return DTypeIn(TensorId::kK, {spec_.q.dtype}, ", the dtype of q") &&
           DTypeIn(TensorId::kV, {spec_.q.dtype}, ", the dtype of q") && Angles() &&
           DTypeIn(TensorId::kKCache, {kI8, kF16, kBF16, kF32}) &&
           DTypeIn(TensorId::kVCache, {spec_.k_cache.dtype}, ", the dtype of k_cache") &&
           Scales() && DTypeIn(TensorId::kWeightScale, {kF32}) &&
           DTypeIn(TensorId::kActivationScale, {kF32}) &&
           DTypeIn(TensorId::kIndices, {kI32, kI64}) &&
           DTypeIn(TensorId::kPositions, {kI32, kI64}) &&
           DTypeIn(TensorId::kBias, {kF32, kF16, kBF16, kI32});
  }
};

}  // namespace

Status CheckDTypes(Spec& spec) {
  Rules rules(spec);
  rules.Hold();
  return rules.TakeStatus();
}

}  // namespace ropekv::internal
