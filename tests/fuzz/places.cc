// SPDX-License-Identifier: Apache-2.0
#include "fuzz/places.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>

#include "fuzz/require.h"
#include "support/sampler.h"

namespace ropekv::testing {
namespace {

constexpr int64_t kMostValues =
    6000;  // of x: a call for the reference takes less than a millisecond

uint64_t Next(uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

// Finite, of a size that neither vanishes nor saturates everything.
void Tame(DType dtype, unsigned char* bytes, int64_t length) {
  const auto each = [&](auto value, auto change) {
    for (int64_t i = 0; i + static_cast<int64_t>(sizeof(value)) <= length;
         i += static_cast<int64_t>(sizeof(value))) {
      std::memcpy(&value, bytes + i, sizeof(value));
      value = static_cast<decltype(value)>(change(value));
      std::memcpy(bytes + i, &value, sizeof(value));
    }
  };
  switch (dtype) {
    case DType::kF32:
      each(uint32_t{}, [](uint32_t v) { return (v & 0x807FFFFF) | (118 + v % 11) << 23; });
      break;
    case DType::kF16:
      each(uint16_t{}, [](unsigned v) { return (v & 0x83FF) | (9 + v % 9) << 10; });
      break;
    case DType::kBF16:
      each(uint16_t{}, [](unsigned v) { return (v & 0x807F) | (118 + v % 11) << 7; });
      break;
    case DType::kI32: each(int32_t{}, [](int32_t v) { return v % 2000; }); break;
    default: break;
  }
}

bool IsNan(DType dtype, uint32_t bits) {
  switch (dtype) {
    case DType::kF16: return (bits & 0x7FFF) > 0x7C00;
    case DType::kBF16: return (bits & 0x7FFF) > 0x7F80;
    case DType::kF32: return (bits & 0x7FFFFFFF) > 0x7F800000;
    default: return false;
  }
}

}  // namespace

Places::Places() {
  for (GuardedBuffer& region : regions_) region = GuardedBuffer(kRegionBytes, 8);
}

// False if a tensor does not fit in a region.
bool Places::Measure(const Spec& spec) {
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    Extent& extent = extents_[static_cast<size_t>(field.id)];
    extent = {};
    // What the operator ignores may be anything.
    const bool ignored =
        (!spec.kv_output && (field.id == TensorId::kK || field.id == TensorId::kV)) ||
        (spec.x.dtype != DType::kI32 &&
         (field.id == TensorId::kWeightScale || field.id == TensorId::kActivationScale ||
          field.id == TensorId::kBias));
    if (ignored || !tensor.present()) continue;
    bool empty = false;
    for (int i = 0; i < tensor.rank; ++i) empty = empty || tensor.shape[i] == 0;
    if (empty) continue;
    __int128 low = 0, high = 0;
    for (int i = 0; i < tensor.rank; ++i) {
      const __int128 reach = static_cast<__int128>(tensor.shape[i] - 1) * tensor.stride[i];
      (reach < 0 ? low : high) += reach;
    }
    const __int128 bytes = ElementBytes(tensor.dtype);
    if ((high - low + 1) * bytes > static_cast<__int128>(kRegionBytes)) return false;
    extent = {static_cast<int64_t>(low * bytes), static_cast<int64_t>((high - low + 1) * bytes)};
  }
  return true;
}

bool Places::Place(const Spec& spec, FuzzedDataProvider& in) {
  spec_ = spec;
  __int128 values = spec.x.shape[spec.x.rank - 1];
  values += spec.k_cache.shape[3];
  for (int i = 0; i + 1 < spec.x.rank; ++i) values *= spec.x.shape[i] + 1;
  if (values > kMostValues || !Measure(spec)) return false;

  for (size_t i = 0; i < kNumTensors; ++i) {
    const bool at_start = in.ConsumeBool();
    const int64_t length = extents_[i].length;
    const int64_t begin = at_start ? 0 : static_cast<int64_t>(kRegionBytes) - length;
    placed_[i] = {i, begin, length};
  }
  // One call in four has a tensor where another is, or none, or one that is not aligned.
  const size_t spoilt = in.ConsumeIntegralInRange<size_t>(0, 4 * kNumTensors - 1);
  const int how = in.ConsumeIntegralInRange(0, 7);
  if (spoilt < kNumTensors && how >= 2) {
    const auto host = in.ConsumeIntegralInRange<size_t>(0, kNumTensors - 1);
    const int64_t delta = in.ConsumeIntegralInRange<int64_t>(-200, 200) * 2;
    const int64_t begin = std::clamp(placed_[host].begin + delta, int64_t{0},
                                     static_cast<int64_t>(kRegionBytes) - extents_[spoilt].length);
    placed_[spoilt] = {host, begin / 8 * 8, extents_[spoilt].length};
  }

  used_begin_.fill(kRegionBytes);
  used_end_.fill(0);
  for (size_t i = 0; i < kNumTensors; ++i) {
    const Placed& placed = placed_[i];
    // What has no elements may point anywhere.
    auto address = uintptr_t{1};
    if (placed.length > 0) {
      used_begin_[placed.owner] = std::min(used_begin_[placed.owner], placed.begin);
      used_end_[placed.owner] = std::max(used_end_[placed.owner], placed.begin + placed.length);
      address = reinterpret_cast<uintptr_t>(regions_[placed.owner].data()) +
                static_cast<uintptr_t>(placed.begin - extents_[i].first);
      if (i == spoilt && how == 0) address = 0;
      // Bytes are never misaligned.
      const bool can_be = ElementBytes((spec.*kTensorFields[i].spec).dtype) > 1;
      if (i == spoilt && how == 1 && can_be) ++address;
    }
    const TensorField& field = kTensorFields[i];
    if (field.output) {
      args_.*field.output = reinterpret_cast<void*>(address);
    } else {
      args_.*field.input = reinterpret_cast<const void*>(address);
    }
  }
  Fill(spec, in);
  return true;
}

void Places::Fill(const Spec& spec, FuzzedDataProvider& in) {
  const bool tame = in.ConsumeBool();
  const bool wild_indices = in.ConsumeIntegralInRange(0, 7) == 0;
  uint64_t state = in.ConsumeIntegral<uint64_t>() | 1;
  // What is left of the input is in every tensor, so that the fuzzer can choose values.
  const std::vector<unsigned char> chosen = in.ConsumeRemainingBytes<unsigned char>();
  for (size_t i = 0; i < kNumTensors; ++i) {
    if (used_begin_[i] >= used_end_[i]) continue;
    unsigned char* const begin = regions_[i].data() + used_begin_[i];
    const int64_t length = used_end_[i] - used_begin_[i];
    for (int64_t at = 0; at < length; at += 8) {
      const uint64_t word = Next(state);
      std::memcpy(begin + at, &word, static_cast<size_t>(std::min<int64_t>(8, length - at)));
    }
    if (tame) Tame((spec.*kTensorFields[i].spec).dtype, begin, length);
    const auto count = std::min(static_cast<size_t>(length), chosen.size());
    if (count > 0) std::memcpy(begin, chosen.data(), count);
  }
  FillIndices(TensorId::kIndices, Next(state), wild_indices);
  FillIndices(TensorId::kPositions, Next(state), wild_indices);
  for (size_t i = 0; i < kNumTensors; ++i) {
    const unsigned char* const data = regions_[i].data();
    before_[i].assign(data + std::min(used_begin_[i], used_end_[i]), data + used_end_[i]);
  }
}

// As a rule legal ones: distinct slots, one in eight of them padding, or places in a row; and rows
// of the tables of cos and sin.
void Places::FillIndices(TensorId id, uint64_t seed, bool wild) {
  const auto at = static_cast<size_t>(id);
  const Placed& placed = placed_[at];
  if (placed.length == 0) return;
  const TensorSpec& tensor = spec_.*kTensorFields[at].spec;
  const auto& cache = spec_.k_cache.shape;
  const bool slots = id == TensorId::kIndices && spec_.cache_layout == CacheLayout::kPaged;
  const int64_t room = slots                      ? cache[0] * cache[1]
                       : id == TensorId::kIndices ? cache[1] - SeqLen() + 1
                                                  : spec_.cos.shape[0];
  uint64_t state = seed | 1;
  int64_t i = 0;
  ForEachElement(tensor, [&](int64_t element) {
    const uint64_t bits = Next(state);
    int64_t index = -1;
    if (!slots && room > 0) index = static_cast<int64_t>(bits % static_cast<uint64_t>(room));
    if (slots && room > 0 && bits % 8 != 0) {
      // Slot 7 i is another for each i below a room that 7 does not divide.
      const int64_t slot = room % 7 ? 7 * i : i;
      index = i < room ? slot % room : -1;
    }
    ++i;
    if (wild && bits >> 60 == 0) index = static_cast<int64_t>(Next(state));
    if (wild && bits >> 60 == 1) index = 0;
    // Both dtypes have their lowest byte first.
    std::memcpy(regions_[placed.owner].data() + placed.begin - extents_[at].first +
                    element * ElementBytes(tensor.dtype),
                &index, static_cast<size_t>(ElementBytes(tensor.dtype)));
  });
}

void Places::Restore() {
  for (size_t i = 0; i < kNumTensors; ++i) {
    if (!before_[i].empty()) {
      std::memcpy(regions_[i].data() + used_begin_[i], before_[i].data(), before_[i].size());
    }
  }
}

void Places::Take(bool ok, Bytes& bytes) {
  for (size_t i = 0; i < kNumTensors; ++i) {
    const unsigned char* const data = regions_[i].data();
    bytes[i].assign(data + std::min(used_begin_[i], used_end_[i]), data + used_end_[i]);
  }
  if (!ok) {
    Require(bytes == before_, "a call that is refused writes nothing");
    return;
  }
  for (size_t i = 0; i < kNumTensors; ++i) {
    bool written = false;
    for (size_t j = 0; j < kNumTensors; ++j) {
      written = written || (placed_[j].owner == i && kTensorFields[j].output);
    }
    Require(written || bytes[i] == before_[i], "inputs stay", kTensorFields[i].name);
  }
  EqualiseNans(bytes);
}

void Places::EqualiseNans(Bytes& bytes) const {
  for (const TensorField& field : kTensorFields) {
    const auto at = static_cast<size_t>(field.id);
    const TensorSpec& tensor = spec_.*field.spec;
    const Placed& placed = placed_[at];
    if (!field.output || placed.length == 0 || tensor.dtype == DType::kI8) continue;
    unsigned char* const origin = bytes[placed.owner].data() +
                                  (placed.begin - used_begin_[placed.owner]) - extents_[at].first;
    const auto size = static_cast<size_t>(ElementBytes(tensor.dtype));
    ForEachElement(tensor, [&](int64_t element) {
      uint32_t bits = 0;
      std::memcpy(&bits, origin + element * static_cast<int64_t>(size), size);
      if (!IsNan(tensor.dtype, bits)) return;
      bits = 0x7FFF7FFF;
      std::memcpy(origin + element * static_cast<int64_t>(size), &bits, size);
    });
  }
}

bool Places::HoldExpected() {
  Take(true, actual_);
  return AreEqual();
}

}  // namespace ropekv::testing
