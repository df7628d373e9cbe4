// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "reference/number_formats.h"
#include "support/sampler.h"

namespace ropekv::testing {
namespace {

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

// Distinct slots in random order, with some padding.
std::vector<int64_t> SampleSlots(Rng& rng, int64_t num_slots, int64_t count, bool is_64_bits) {
  std::vector<int64_t> slots(static_cast<size_t>(num_slots));
  std::iota(slots.begin(), slots.end(), 0);
  for (int64_t i = 0; i < std::min(count, num_slots); ++i) {
    std::swap(slots[i], slots[rng.Int(i, num_slots - 1)]);
    if (!rng.Chance(0.1)) continue;
    slots[i] = rng.Pick<int64_t>({-1, -7, is_64_bits ? INT64_MIN : INT32_MIN});
  }
  slots.resize(static_cast<size_t>(count), -1);
  return slots;
}

// In row-major order: slots or start positions, or rows of the table of cos and sin.
std::vector<int64_t> SampleIntegers(Rng& rng, const Spec& spec, TensorId id) {
  const bool positions = id == TensorId::kPositions;
  const TensorSpec& tensor = positions ? spec.positions : spec.indices;
  const int64_t count = tensor.shape[0] * (tensor.rank == 2 ? tensor.shape[1] : 1);
  const auto& cache = spec.k_cache.shape;
  if (!positions && spec.cache_layout == CacheLayout::kPaged) {
    return SampleSlots(rng, cache[0] * cache[1], count, tensor.dtype == DType::kI64);
  }
  const int64_t seq = spec.x.rank == 3 ? spec.x.shape[1] : 1;
  const int64_t last = positions ? spec.cos.shape[0] - 1 : cache[1] - seq;
  std::vector<int64_t> integers(static_cast<size_t>(count));
  for (int64_t& integer : integers) integer = rng.Int(0, last);
  return integers;
}

}  // namespace

const char* Name(Flavour flavour) {
  switch (flavour) {
    case Flavour::kPlain: return "plain";
    case Flavour::kTies: return "ties";
    case Flavour::kSpecial: return "special";
    case Flavour::kSubnormal: return "subnormal";
  }
  return "?";
}

void FillInput(Rng& rng, const Spec& spec, TensorId id, Flavour flavour, void* origin) {
  const TensorSpec& tensor = spec.*kTensorFields[static_cast<size_t>(id)].spec;
  Values values(rng, flavour);
  const auto store = [&](int64_t element, auto value) {
    std::memcpy(static_cast<char*>(origin) + element * static_cast<int64_t>(sizeof(value)), &value,
                sizeof(value));
  };
  if (id == TensorId::kIndices || id == TensorId::kPositions) {
    const std::vector<int64_t> integers = SampleIntegers(rng, spec, id);
    size_t next = 0;
    ForEachElement(tensor, [&](int64_t element) {
      const int64_t integer = integers[next++];
      if (tensor.dtype == DType::kI64) return store(element, integer);
      store(element, static_cast<int32_t>(integer));
    });
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
