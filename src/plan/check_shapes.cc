// SPDX-License-Identifier: Apache-2.0
// The rules about shapes and strides.
#include <algorithm>
#include <initializer_list>
#include <string>

#include "plan/checks.h"

namespace ropekv::internal {

std::string Show(const int64_t* values, int count) {
  std::string text = "[";
  for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + "]";
}

namespace {

class Rules : public SpecRules {
 public:
  Rules(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints)
      : SpecRules(spec), sizes_(sizes), footprints_(footprints) {}

  bool Hold() { return ReadSizes() && Shapes() && Strides(); }

 private:
  using Shape = std::initializer_list<int64_t>;

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
    sizes_.rotary_dim = spec_.rotary_dim == 0 ? sizes_.head_dim : spec_.rotary_dim;
    if (sizes_.rotary_dim < 2 || sizes_.rotary_dim > sizes_.head_dim ||
        sizes_.rotary_dim % 2 != 0) {
      return Fail(StatusCode::kBadShape, "rotary_dim",
                  "is " + std::to_string(spec_.rotary_dim) +
                      "; must be even and from 2 to head_dim " + std::to_string(sizes_.head_dim) +
                      ", or 0 for all of it");
    }
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

  static bool HasShape(const TensorSpec& tensor, Shape shape) {
    return tensor.rank == static_cast<int>(shape.size()) &&
           std::equal(shape.begin(), shape.end(), tensor.shape.begin());
  }

  bool ShapeIs(TensorId id, Shape legal, const char* meaning) {
    const TensorSpec& tensor = Tensor(id);
    if (!tensor.present() || HasShape(tensor, legal)) return true;
    return Fail(StatusCode::kBadShape, id,
                "has shape " + Show(tensor.shape.data(), tensor.rank) + "; must be " + meaning +
                    " = " + Show(legal.begin(), static_cast<int>(legal.size())));
  }

  // One of two legal shapes.
  bool ShapeIsEither(TensorId id, Shape legal, Shape other, const char* meaning) {
    const TensorSpec& tensor = Tensor(id);
    if (HasShape(tensor, legal) || HasShape(tensor, other)) return true;
    return Fail(StatusCode::kBadShape, id,
                "has shape " + Show(tensor.shape.data(), tensor.rank) + "; must be " + meaning +
                    " = " + Show(legal.begin(), static_cast<int>(legal.size())) + " or " +
                    Show(other.begin(), static_cast<int>(other.size())));
  }

  // That of a tensor whose own shape is legal.
  bool ShapeIsThatOf(TensorId id, const TensorSpec& other, const char* meaning) {
    const TensorSpec& tensor = Tensor(id);
    const auto begin = other.shape.begin();
    if (tensor.rank == other.rank && std::equal(begin, begin + other.rank, tensor.shape.begin())) {
      return true;
    }
    return Fail(StatusCode::kBadShape, id,
                "has shape " + Show(tensor.shape.data(), tensor.rank) + "; must be " + meaning +
                    " = " + Show(other.shape.data(), other.rank));
  }

  // One or two dimensions with so many entries in all.
  bool Entries(TensorId id, int64_t count, const char* meaning) {
    const TensorSpec& tensor = Tensor(id);
    if (!tensor.present()) return true;
    // The footprint bounds the product unless an extent is 0.
    const auto& shape = tensor.shape;
    const bool ok = tensor.rank == 1 ? shape[0] == count
                    : tensor.rank == 2
                        ? shape[0] == 0 || shape[1] == 0 ? count == 0 : shape[0] * shape[1] == count
                        : false;
    if (ok) return true;
    return Fail(StatusCode::kBadShape, id,
                "has shape " + Show(shape.data(), tensor.rank) + "; must be 1-D or 2-D with " +
                    meaning + " = " + std::to_string(count) + " entries");
  }

  // Both channels of a pair have an entry each, or one together.
  bool AngleShapes() {
    const int64_t full = sizes_.rotary_dim, half = full / 2;
    const int64_t batch = sizes_.batch_size, seq = sizes_.seq_len;
    if (spec_.positions.present()) {
      const int64_t rows = spec_.cos.shape[0];
      if (!ShapeIsEither(TensorId::kCos, {rows, full}, {rows, half}, "[P, R] or [P, R / 2]")) {
        return false;
      }
    } else if (!(spec_.x.rank == 3
                     ? ShapeIsEither(TensorId::kCos, {batch, seq, 1, full}, {batch, seq, 1, half},
                                     "[B, S, 1, R] or [B, S, 1, R / 2]")
                     : ShapeIsEither(TensorId::kCos, {batch, full}, {batch, half},
                                     "[B, R] or [B, R / 2]"))) {
      return false;
    }
    sizes_.half_width_angles = spec_.cos.shape[spec_.cos.rank - 1] == half;
    return ShapeIsThatOf(TensorId::kSin, spec_.cos, "the shape of cos") &&
           Entries(TensorId::kPositions, sizes_.num_tokens, "B * S");
  }

  // A scale or offset for each channel, for each head, or for all.
  bool ScaleShape(TensorId id) {
    const TensorSpec& tensor = Tensor(id);
    if (!tensor.present()) return true;
    const int64_t heads = sizes_.num_kv_heads, head_dim = sizes_.head_dim;
    const auto& shape = tensor.shape;
    const bool legal = tensor.rank == 1 ? shape[0] == 1 || shape[0] == heads * head_dim
                                        : tensor.rank == 2 && shape[0] == heads &&
                                              (shape[1] == 1 || shape[1] == head_dim);
    if (legal) return true;
    const std::string nkv = std::to_string(heads), d = std::to_string(head_dim);
    return Fail(StatusCode::kBadShape, id,
                "has shape " + Show(shape.data(), tensor.rank) + "; must be [Nkv, D] = [" + nkv +
                    ", " + d + "], [Nkv * D], [Nkv, 1] or [1]");
  }

  bool Shapes() {
    // Not structured bindings: clang 14 cannot capture those.
    const int64_t batch = sizes_.batch_size;
    const int64_t seq = sizes_.seq_len;
    const int64_t kv_heads = sizes_.num_kv_heads;
    const int64_t head_dim = sizes_.head_dim;
    const bool has_seq = spec_.x.rank == 3;
    const auto output = [&](TensorId id, int64_t heads, const char* with_seq, const char* without) {
      return has_seq ? ShapeIs(id, {batch, seq, heads, head_dim}, with_seq)
                     : ShapeIs(id, {batch, heads, head_dim}, without);
    };
    if (!AngleShapes() ||
        !output(TensorId::kQ, sizes_.num_q_heads, "[B, S, Nq, D]", "[B, Nq, D]") ||
        !output(TensorId::kK, kv_heads, "[B, S, Nkv, D]", "[B, Nkv, D]") ||
        !output(TensorId::kV, kv_heads, "[B, S, Nkv, D]", "[B, Nkv, D]")) {
      return false;
    }
    return ScaleShape(TensorId::kScaleK) && ScaleShape(TensorId::kScaleV) &&
           ScaleShape(TensorId::kOffsetK) && ScaleShape(TensorId::kOffsetV) &&
           ShapeIs(TensorId::kWeightScale, {sizes_.hidden}, "[H]") &&
           ShapeIs(TensorId::kBias, {sizes_.hidden}, "[H]") &&
           ShapeIs(TensorId::kActivationScale, {sizes_.num_tokens}, "[B * S]") && CacheShapes();
  }

  bool CacheShapes() {
    const auto& shape = spec_.k_cache.shape;
    if (!ShapeIsThatOf(TensorId::kVCache, spec_.k_cache, "the shape of k_cache")) return false;
    if (spec_.cache_layout == CacheLayout::kPaged) {
      return Entries(TensorId::kIndices, sizes_.num_tokens, "B * S (paged)");
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
    return Entries(TensorId::kIndices, sizes_.batch_size, "B (contiguous)");
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

  Sizes& sizes_;
  std::array<Footprint, kNumTensors>& footprints_;
};

}  // namespace

Status CheckShapes(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints) {
  Rules rules(spec, sizes, footprints);
  rules.Hold();
  return rules.TakeStatus();
}

}  // namespace ropekv::internal
