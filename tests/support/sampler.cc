// SPDX-License-Identifier: Apache-2.0
#include "support/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/variants.h"
#include "plan/overlap.h"
#include "reference/number_formats.h"

namespace ropekv::testing {
namespace {

bool IsCache(const TensorField& field) {
  return field.id == TensorId::kKCache || field.id == TensorId::kVCache;
}

// Gives a row-major tensor other strides with the same elements.
void Restride(Rng& rng, bool is_output, TensorSpec& tensor) {
  if (!tensor.present() || tensor.rank == 0) return;
  // Lay the dimensions out in some order, with gaps.
  int order[TensorSpec::kMaxRank];
  std::iota(order, order + tensor.rank, 0);
  if (rng.Chance(0.2)) std::swap(order[0], order[rng.Int(0, tensor.rank - 1)]);
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

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// A value for one element, before it is stored in the tensor's dtype.
class Values {
 public:
  Values(Rng& rng, Flavour flavour) : rng_(rng), flavour_(flavour) {}

  float Real(TensorId id) {
    switch (flavour_) {
      case Flavour::kPlain: return static_cast<float>(Plain(id));
      case Flavour::kTies: return static_cast<float>(Tied(id));
      case Flavour::kSpecial: return Special(id);
      case Flavour::kSubnormal: return static_cast<float>(Tiny(id));
    }
    return 0;
  }

  int32_t Integer(TensorId id) {
    if (flavour_ == Flavour::kSpecial) return static_cast<int32_t>(rng_.Bits());
    if (flavour_ == Flavour::kTies) return static_cast<int32_t>(rng_.Int(-40, 40));
    const int64_t limit = id == TensorId::kBias ? 1000 : 100000;
    return static_cast<int32_t>(rng_.Int(-limit, limit));
  }

 private:
  double Plain(TensorId id) {
    switch (id) {
      case TensorId::kCos:
      case TensorId::kSin: return rng_.Real(-1, 1);
      case TensorId::kScaleK:
      case TensorId::kScaleV: return rng_.Real(0.01, 0.05);
      case TensorId::kOffsetK:
      case TensorId::kOffsetV: return rng_.Real(-20, 20);
      case TensorId::kWeightScale: return rng_.Real(1e-5, 4e-5);
      case TensorId::kActivationScale: return rng_.Real(0.5, 2);
      default: return rng_.Real(-4, 4);
    }
  }

  // Everything a multiple of 1/4 that the 16-bit formats hold exactly, steps of 1/2: half of all
  // ratios are ties.
  double Tied(TensorId id) {
    switch (id) {
      case TensorId::kCos:
      case TensorId::kActivationScale: return 1;
      case TensorId::kSin: return 0;
      case TensorId::kScaleK:
      case TensorId::kScaleV: return rng_.Pick({0.5, -0.5, 1.0});
      case TensorId::kOffsetK:
      case TensorId::kOffsetV: return static_cast<double>(rng_.Int(-8, 8)) / 2;
      case TensorId::kWeightScale: return 0.25;
      default: return static_cast<double>(rng_.Int(-120, 120)) / 4;
    }
  }

  float Special(TensorId id) {
    if (rng_.Chance(0.5)) return static_cast<float>(Plain(id));
    if (rng_.Chance(0.5)) return FromBits(static_cast<uint32_t>(rng_.Bits()));
    return rng_.Pick({0.0f, -0.0f, INFINITY, -INFINITY, NAN, 65504.0f, 65520.0f, -65536.0f, 3e38f,
                      -3e38f, 1e-40f, 3e9f, -3e9f, FromBits(0x7F800001u), FromBits(0xFFFFFFFFu)});
  }

  double Tiny(TensorId id) {
    switch (id) {
      case TensorId::kCos:
      case TensorId::kSin:
        return rng_.Chance(0.5) ? rng_.Real(-1, 1) : rng_.Real(-0x1p-14, 0x1p-14);
      case TensorId::kScaleK:
      case TensorId::kScaleV: return rng_.Chance(0.5) ? rng_.Real(1e-8, 1e-5) : 1e-42;
      case TensorId::kWeightScale: return rng_.Chance(0.5) ? 1e-11 : 1e-40;
      default: return rng_.Chance(0.5) ? rng_.Real(-0x1p-13, 0x1p-13) : rng_.Real(-1e-38, 1e-38);
    }
  }

  Rng& rng_;
  Flavour flavour_;
};

// Distinct slots in random order, with some padding; or start positions.
std::vector<int32_t> SampleIndices(Rng& rng, const Spec& spec) {
  const auto& cache = spec.k_cache.shape;
  std::vector<int32_t> indices(static_cast<size_t>(spec.indices.shape[0]));
  if (spec.cache_layout == CacheLayout::kContiguous) {
    const int64_t seq = spec.x.rank == 3 ? spec.x.shape[1] : 1;
    for (int32_t& start : indices) start = static_cast<int32_t>(rng.Int(0, cache[1] - seq));
    return indices;
  }
  std::vector<int32_t> slots(static_cast<size_t>(cache[0] * cache[1]));
  std::iota(slots.begin(), slots.end(), 0);
  for (size_t i = 0; i < indices.size(); ++i) {
    if (i >= slots.size()) {
      indices[i] = -1;
      continue;
    }
    std::swap(slots[i],
              slots[rng.Int(static_cast<int64_t>(i), static_cast<int64_t>(slots.size()) - 1)]);
    indices[i] = rng.Chance(0.1) ? rng.Pick({-1, -7, INT32_MIN}) : slots[i];
  }
  return indices;
}

}  // namespace

const std::vector<Variant>& AllVariants() {
#define ROPEKV_VARIANT_ROW(SOURCE, OUTPUT, NUMERICS) \
  {DType::SOURCE, DType::OUTPUT, Numerics::NUMERICS, #SOURCE "_" #OUTPUT "_" #NUMERICS},
  static const std::vector<Variant> variants = {ROPEKV_VARIANTS(ROPEKV_VARIANT_ROW)};
#undef ROPEKV_VARIANT_ROW
  return variants;
}

const char* Name(Flavour flavour) {
  switch (flavour) {
    case Flavour::kPlain: return "plain";
    case Flavour::kTies: return "ties";
    case Flavour::kSpecial: return "special";
    case Flavour::kSubnormal: return "subnormal";
  }
  return "?";
}

Spec SampleSpec(Rng& rng, const Variant& variant, const SampleOptions& options) {
  const int64_t head_dim = rng.Chance(0.5) ? rng.Pick<int64_t>({64, 80, 96, 128, 256})
                                           : (rng.Chance(0.1) ? rng.Pick<int64_t>({512, 514, 1030})
                                                              : 2 * rng.Int(1, 40));
  const int64_t q_heads = rng.Int(1, 6);
  const int64_t kv_heads = rng.Int(1, 3);
  const bool has_seq = rng.Chance(0.6);
  const int64_t seq = has_seq ? rng.Int(1, 7) : 1;
  const int64_t batch =
      rng.Chance(0.03) ? 0 : rng.Int(1, std::max<int64_t>(1, options.max_tokens / seq));
  const int64_t tokens = batch * seq;
  Shape shape{.batch = batch,
              .num_q_heads = q_heads,
              .num_kv_heads = kv_heads,
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

  Spec spec = DenseSpec(shape);
  spec.numerics = variant.numerics;
  if (rng.Chance(0.5)) spec.offset_k = spec.scale_k;
  if (rng.Chance(0.5)) spec.offset_v = spec.scale_v;
  for (TensorSpec* tensor : {&spec.scale_k, &spec.scale_v, &spec.offset_k, &spec.offset_v}) {
    if (tensor->present() && rng.Chance(0.3)) *tensor = Dense(DType::kF32, {kv_heads * head_dim});
  }

  if (!options.strided) return spec;
  // Few tensors at a time, so that the dense kernels are met as often as the strided ones.
  const double chance = rng.Pick({0.0, 0.0, 0.1, 0.5});
  for (const TensorField& field : kTensorFields) {
    if (!rng.Chance(chance)) continue;
    TensorSpec& tensor = spec.*field.spec;
    if (field.id == TensorId::kIndices && spec.cache_layout == CacheLayout::kPaged) {
      tensor.stride[0] = rng.Pick<int64_t>({2, -1, 5});  // no broadcast: slots must be distinct
    } else {
      Restride(rng, field.output || IsCache(field), tensor);
    }
  }
  return spec;
}

Extent ExtentOf(const TensorSpec& tensor) {
  const auto footprint = internal::MakeFootprint(tensor);
  if (!footprint) return {};
  return {static_cast<size_t>(footprint->length), static_cast<size_t>(-footprint->first_byte)};
}

void FillInput(Rng& rng, const Spec& spec, TensorId id, Flavour flavour, void* origin) {
  const TensorSpec& tensor = spec.*kTensorFields[static_cast<size_t>(id)].spec;
  Values values(rng, flavour);
  const auto store = [&](int64_t element, auto value) {
    std::memcpy(static_cast<char*>(origin) + element * static_cast<int64_t>(sizeof(value)), &value,
                sizeof(value));
  };
  if (id == TensorId::kIndices) {
    const std::vector<int32_t> indices = SampleIndices(rng, spec);
    size_t next = 0;
    ForEachElement(tensor, [&](int64_t element) { store(element, indices[next++]); });
    return;
  }
  ForEachElement(tensor, [&](int64_t element) {
    switch (tensor.dtype) {
      case DType::kI32: return store(element, values.Integer(id));
      case DType::kF32: return store(element, values.Real(id));
      case DType::kF16:
        return store(element, reference::Encode(reference::kBinary16, values.Real(id)));
      default: return store(element, reference::Encode(reference::kBfloat16, values.Real(id)));
    }
  });
}

}  // namespace ropekv::testing
