// SPDX-License-Identifier: Apache-2.0
// Every rule about a Spec, one check each, in the order: presence, dtypes, shapes, strides, device
// limits. The first that fails is the answer.
#include <initializer_list>
#include <string>

#include "plan/plan.h"

namespace ropekv::internal {
namespace {

std::string Show(const int64_t* values, int count) {
  std::string text = "[";
  for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + "]";
}

std::string Show(std::initializer_list<DType> dtypes) {
  std::string text;
  for (const DType dtype : dtypes) text += (text.empty() ? "" : ", ") + std::string(Name(dtype));
  return text;
}

class Checker {
 public:
  Checker(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints)
      : spec_(spec), sizes_(sizes), footprints_(footprints) {}

  Status Check() {
    if (!DropIgnored() || !Presence() || !DTypes() || !ReadSizes() || !Shapes() || !Strides()) {
      return status_;
    }
    if (spec_.strict_device_limits) DeviceLimits();
    return status_;
  }

 private:
  using Shape = std::initializer_list<int64_t>;

  // The failing checks return false, so that the rules read as one && chain.
  bool Fail(StatusCode code, TensorId id, std::string detail) {
    status_ = Status(code, id, std::move(detail));
    return false;
  }
  bool Fail(StatusCode code, const char* culprit, std::string detail) {
    status_ = Status(code, culprit, std::move(detail));
    return false;
  }

  TensorSpec& Tensor(TensorId id) { return spec_.*kTensorFields[static_cast<size_t>(id)].spec; }

  bool DropIgnored() {
    if (spec_.x.dtype != DType::kI32) {
      spec_.weight_scale = spec_.activation_scale = spec_.bias = TensorSpec{};
    }
    if (!spec_.kv_output) spec_.k = spec_.v = TensorSpec{};
    return true;
  }

  bool Require(TensorId id, const char* why) {
    if (Tensor(id).present()) return true;
    return Fail(StatusCode::kNullPointer, id, why);
  }

  bool Presence() {
    for (const TensorId id :
         {TensorId::kX, TensorId::kCos, TensorId::kSin, TensorId::kKCache, TensorId::kVCache,
          TensorId::kIndices, TensorId::kScaleK, TensorId::kScaleV, TensorId::kQ}) {
      if (!Require(id, "is required but absent")) return false;
    }
    return (spec_.x.dtype != DType::kI32 ||
            Require(TensorId::kWeightScale, "is required for i32 x but absent")) &&
           (!spec_.kv_output || (Require(TensorId::kK, "is required by kv_output but absent") &&
                                 Require(TensorId::kV, "is required by kv_output but absent")));
  }

  bool DTypeIn(TensorId id, std::initializer_list<DType> legal, const char* why = "") {
    const DType found = Tensor(id).dtype;
    if (found == DType::kNone) return true;  // an absent optional tensor
    for (const DType dtype : legal) {
      if (dtype == found) return true;
    }
    return Fail(StatusCode::kBadDType, id,
                "has dtype " + std::string(Name(found)) + "; must be " +
                    (legal.size() > 1 ? "one of " : "") + Show(legal) + why);
  }

  bool DTypes() {
    using enum DType;
    if (!DTypeIn(TensorId::kX, {kI32, kF16, kBF16}) || !DTypeIn(TensorId::kCos, {kF16, kBF16}) ||
        !DTypeIn(TensorId::kSin, {spec_.cos.dtype}, ", the dtype of cos")) {
      return false;
    }
    if (spec_.x.dtype != kI32 && spec_.cos.dtype != spec_.x.dtype) {
      return DTypeIn(TensorId::kCos, {spec_.x.dtype}, ", the dtype of x");
    }
    for (const TensorId id : {TensorId::kQ, TensorId::kK, TensorId::kV}) {
      if (!DTypeIn(id, {spec_.cos.dtype}, ", the dtype of cos")) return false;
    }
    for (const TensorId id :
         {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV,
          TensorId::kWeightScale, TensorId::kActivationScale}) {
      if (!DTypeIn(id, {kF32})) return false;
    }
    return DTypeIn(TensorId::kKCache, {kI8}) && DTypeIn(TensorId::kVCache, {kI8}) &&
           DTypeIn(TensorId::kIndices, {kI32}) &&
           DTypeIn(TensorId::kBias, {kF32, kF16, kBF16, kI32});
  }

  // Rank and extents in range, total size in 63 bits; fills the footprint.
  bool Measurable(const TensorField& field) {
    const TensorSpec& tensor = spec_.*field.spec;
    if (!tensor.present()) return true;
    if (tensor.rank < 0 || tensor.rank > TensorSpec::kMaxRank) {
      return Fail(StatusCode::kBadShape, field.id,
                  "has " + std::to_string(tensor.rank) + " dimensions; at most " +
                      std::to_string(TensorSpec::kMaxRank) + " are possible");
    }
    const auto footprint = MakeFootprint(tensor);
    if (!footprint) {
      return Fail(StatusCode::kBadShape, field.id,
                  "has shape " + Show(tensor.shape.data(), tensor.rank) + " and strides " +
                      Show(tensor.stride.data(), tensor.rank) +
                      "; extents must be >= 0 and all offsets fit in 63 bits");
    }
    footprints_[static_cast<size_t>(field.id)] = *footprint;
    return true;
  }

  bool ReadSizes() {
    for (const TensorField& field : kTensorFields) {
      if (!Measurable(field)) return false;
    }
    const TensorSpec& x = spec_.x;
    if (x.rank != 2 && x.rank != 3) {
      return Fail(StatusCode::kBadShape, TensorId::kX,
                  "has shape " + Show(x.shape.data(), x.rank) + "; must be [B, S, H] or [B, H]");
    }
    const TensorSpec& cache = spec_.k_cache;
    if (cache.rank != 4) {
      return Fail(StatusCode::kBadShape, TensorId::kKCache,
                  "has shape " + Show(cache.shape.data(), cache.rank) +
                      "; must be 4-D [C1, C2, num_kv_heads, head_dim]");
    }
    sizes_.batch_size = x.shape[0];
    sizes_.seq_len = x.rank == 3 ? x.shape[1] : 1;
    sizes_.hidden = x.shape[x.rank - 1];
    sizes_.num_kv_heads = cache.shape[2];
    sizes_.head_dim = cache.shape[3];
    if (sizes_.head_dim < 2 || sizes_.head_dim % 2 != 0) {
      return Fail(StatusCode::kBadShape, TensorId::kKCache,
                  "has head_dim " + std::to_string(sizes_.head_dim) + "; must be even and >= 2");
    }
    // The footprint of x bounds this product: B and S are its first extents.
    sizes_.num_tokens = sizes_.batch_size * sizes_.seq_len;
    return Splits();
  }

  bool Splits() {
    const auto& [q, k, v] = spec_.size_splits;
    const auto fail = [&](const std::string& rule) {
      return Fail(StatusCode::kBadShape, "size_splits",
                  "is " + Show(spec_.size_splits.data(), 3) + "; " + rule);
    };
    const int64_t head_dim = sizes_.head_dim;
    if (q < 0 || k < 0 || v < 0) return fail("entries must be >= 0");
    if (k != v) return fail("the k and v parts must be equal");
    // The footprint of k_cache bounds this product unless the cache is empty.
    int64_t kv_width = 0;
    if (__builtin_mul_overflow(sizes_.num_kv_heads, head_dim, &kv_width) || k != kv_width) {
      return fail("the k part must be num_kv_heads * head_dim of k_cache = " +
                  std::to_string(sizes_.num_kv_heads) + " * " + std::to_string(head_dim));
    }
    if (q % head_dim != 0) {
      return fail("the q part must be a multiple of head_dim " + std::to_string(head_dim));
    }
    int64_t sum = 0;
    if (__builtin_add_overflow(q, k, &sum) || __builtin_add_overflow(sum, v, &sum) ||
        sum != sizes_.hidden) {
      return fail("the parts must sum to x's last dimension " + std::to_string(sizes_.hidden));
    }
    sizes_.num_q_heads = q / head_dim;
    return true;
  }

  bool ShapeIs(TensorId id, Shape legal, const char* meaning) {
    const TensorSpec& tensor = Tensor(id);
    if (!tensor.present()) return true;
    bool same = tensor.rank == static_cast<int>(legal.size());
    for (int i = 0; same && i < tensor.rank; ++i) same = tensor.shape[i] == legal.begin()[i];
    if (same) return true;
    return Fail(StatusCode::kBadShape, id,
                "has shape " + Show(tensor.shape.data(), tensor.rank) + "; must be " + meaning +
                    " = " + Show(legal.begin(), static_cast<int>(legal.size())));
  }

  bool Shapes() {
    // Not structured bindings: clang 14 cannot capture those.
    const int64_t batch = sizes_.batch_size;
    const int64_t seq = sizes_.seq_len;
    const int64_t kv_heads = sizes_.num_kv_heads;
    const int64_t head_dim = sizes_.head_dim;
    const bool has_seq = spec_.x.rank == 3;
    for (const TensorId id : {TensorId::kCos, TensorId::kSin}) {
      if (!(has_seq ? ShapeIs(id, {batch, seq, 1, head_dim}, "[B, S, 1, D]")
                    : ShapeIs(id, {batch, head_dim}, "[B, D]"))) {
        return false;
      }
    }
    const auto output = [&](TensorId id, int64_t heads, const char* with_seq, const char* without) {
      return has_seq ? ShapeIs(id, {batch, seq, heads, head_dim}, with_seq)
                     : ShapeIs(id, {batch, heads, head_dim}, without);
    };
    if (!output(TensorId::kQ, sizes_.num_q_heads, "[B, S, Nq, D]", "[B, Nq, D]") ||
        !output(TensorId::kK, kv_heads, "[B, S, Nkv, D]", "[B, Nkv, D]") ||
        !output(TensorId::kV, kv_heads, "[B, S, Nkv, D]", "[B, Nkv, D]")) {
      return false;
    }
    for (const TensorId id :
         {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV}) {
      const bool flat = Tensor(id).rank == 1;
      if (!(flat ? ShapeIs(id, {kv_heads * head_dim}, "[Nkv * D]")
                 : ShapeIs(id, {kv_heads, head_dim}, "[Nkv, D]"))) {
        return false;
      }
    }
    return ShapeIs(TensorId::kWeightScale, {sizes_.hidden}, "[H]") &&
           ShapeIs(TensorId::kBias, {sizes_.hidden}, "[H]") &&
           ShapeIs(TensorId::kActivationScale, {sizes_.num_tokens}, "[B * S]") && CacheShapes();
  }

  bool CacheShapes() {
    const auto& shape = spec_.k_cache.shape;
    if (!ShapeIs(TensorId::kVCache, {shape[0], shape[1], shape[2], shape[3]},
                 "the shape of k_cache")) {
      return false;
    }
    if (spec_.cache_layout == CacheLayout::kPaged) {
      return ShapeIs(TensorId::kIndices, {sizes_.num_tokens}, "[B * S] (paged)");
    }
    if (shape[0] < sizes_.batch_size) {
      return Fail(StatusCode::kBadShape, TensorId::kKCache,
                  "has " + std::to_string(shape[0]) + " rows; must be at least x's batch size " +
                      std::to_string(sizes_.batch_size));
    }
    if (sizes_.num_tokens > 0 && shape[1] < sizes_.seq_len) {
      return Fail(StatusCode::kBadShape, TensorId::kKCache,
                  "has " + std::to_string(shape[1]) +
                      " positions a row; must be at least x's "
                      "sequence length " +
                      std::to_string(sizes_.seq_len));
    }
    return ShapeIs(TensorId::kIndices, {sizes_.batch_size}, "[B] (contiguous)");
  }

  bool Strides() {
    for (const TensorField& field : kTensorFields) {
      const TensorSpec& tensor = spec_.*field.spec;
      if (!field.output || !tensor.present()) continue;
      if (ElementsAreDistinct(tensor, footprints_[static_cast<size_t>(field.id)])) continue;
      return Fail(StatusCode::kBadShape, field.id,
                  "has shape " + Show(tensor.shape.data(), tensor.rank) + " and strides " +
                      Show(tensor.stride.data(), tensor.rank) +
                      "; an output's elements must not share or interleave their addresses");
    }
    return true;
  }

  bool DeviceLimits() {
    const auto fail = [&](TensorId id, const std::string& detail) {
      return Fail(StatusCode::kDeviceLimit, id, detail);
    };
    if (sizes_.hidden > 4096 || sizes_.hidden % 64 != 0) {
      return fail(TensorId::kX, "has a last dimension of " + std::to_string(sizes_.hidden) +
                                    "; the device takes multiples of 64 up to 4096");
    }
    if (sizes_.head_dim % 16 != 0) {
      return fail(TensorId::kKCache, "has head_dim " + std::to_string(sizes_.head_dim) +
                                         "; the device takes multiples of 16");
    }
    if (spec_.offset_k.present() != spec_.offset_v.present()) {
      return fail(spec_.offset_k.present() ? TensorId::kOffsetV : TensorId::kOffsetK,
                  "is absent; the device uses both offsets or none");
    }
    return true;
  }

  Spec& spec_;
  Sizes& sizes_;
  std::array<Footprint, kNumTensors>& footprints_;
  Status status_;
};

}  // namespace

Status CheckSpec(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints) {
  return Checker(spec, sizes, footprints).Check();
}

}  // namespace ropekv::internal
