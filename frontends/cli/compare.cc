// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace ropekv::cli {
namespace {

using workload::Buffer;
using workload::Buffers;
using workload::Case;

// How the elements of a dtype are told apart: IsNan; Rank, which numbers the values in ascending
// order, so that neighbours differ by one; Text.
struct Int8Order {
  using Element = int8_t;
  static bool IsNan(int8_t) { return false; }
  static int Rank(int8_t value) { return value; }
  static std::string Text(int8_t value) { return fmt::format("{}", value); }
};

template <uint16_t infinity>
struct FloatOrder {
  using Element = uint16_t;
  static bool IsNan(uint16_t bits) { return (bits & 0x7FFF) > infinity; }
  // -0 ranks just below +0: they are different results.
  static int Rank(uint16_t bits) { return bits & 0x8000 ? ~(bits & 0x7FFF) : bits; }
  static std::string Text(uint16_t bits) {
    return IsNan(bits) ? "nan" : fmt::format("0x{:04x}", bits);
  }
};
using F16Order = FloatOrder<0x7C00>;
using BF16Order = FloatOrder<0x7F80>;

std::vector<int64_t> Unravel(const TensorSpec& tensor, int64_t flat) {
  std::vector<int64_t> index(tensor.rank);
  for (int i = tensor.rank - 1; i >= 0; --i) {
    index[i] = flat % tensor.shape[i];
    flat /= tensor.shape[i];
  }
  return index;
}

template <class Order>
void Compare(const Buffer& actual, const Buffer& expected, Difference* difference) {
  const auto* a = actual.as<const typename Order::Element>();
  const auto* e = expected.as<const typename Order::Element>();
  for (int64_t i = 0; i < difference->elements; ++i) {
    const bool a_nan = Order::IsNan(a[i]);
    const bool e_nan = Order::IsNan(e[i]);
    if (a[i] == e[i] || (a_nan && e_nan)) continue;
    if (difference->mismatches++ == 0) {
      difference->index = Unravel(difference->tensor, i);
      difference->actual = Order::Text(a[i]);
      difference->expected = Order::Text(e[i]);
    }
    if (a_nan || e_nan) {
      ++difference->nan_mismatches;
    } else {
      const int64_t distance = std::abs(Order::Rank(a[i]) - Order::Rank(e[i]));
      difference->largest = std::max(difference->largest, distance);
    }
  }
}

// The tokens that have a row in the caches: all but padding.
int64_t CachedTokens(const Case& run) {
  const Buffer& indices = run[TensorId::kIndices];
  if (run.spec.cache_layout == CacheLayout::kContiguous) {
    return run.spec.indices.shape[0] * (run.spec.x.rank == 3 ? run.spec.x.shape[1] : 1);
  }
  return std::count_if(indices.as<int32_t>(), indices.as<int32_t>() + run.spec.indices.shape[0],
                       [](int32_t slot) { return slot >= 0; });
}

}  // namespace

std::vector<Difference> CompareOutputs(const Case& actual, const Buffers& expected) {
  const int64_t cached_tokens = CachedTokens(actual);
  std::vector<Difference> differences;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = actual.spec.*field.spec;
    if (!field.output || !tensor.present()) continue;
    Difference difference;
    difference.name = field.name;
    difference.tensor = tensor;
    difference.elements = workload::NumElements(tensor);
    difference.written = workload::IsCache(field.id)
                             ? cached_tokens * tensor.shape[2] * tensor.shape[3]
                             : difference.elements;
    const Buffer& a = actual[field.id];
    const Buffer& e = expected[static_cast<int>(field.id)];
    if (tensor.dtype == DType::kI8) {
      Compare<Int8Order>(a, e, &difference);
    } else if (tensor.dtype == DType::kF16) {
      Compare<F16Order>(a, e, &difference);
    } else {
      Compare<BF16Order>(a, e, &difference);
    }
    differences.push_back(std::move(difference));
  }
  return differences;
}

}  // namespace ropekv::cli
