// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <unordered_map>

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
  static int64_t Rank(int8_t value) { return value; }
  static std::string Text(int8_t value) { return fmt::format("{}", value); }
};

template <class Bits, Bits infinity>
struct FloatOrder {
  using Element = Bits;
  static constexpr int64_t kMagnitude = std::numeric_limits<Bits>::max() / 2;
  static bool IsNan(Bits bits) { return (bits & kMagnitude) > infinity; }
  // -0 ranks just below +0: they are different results.
  static int64_t Rank(Bits bits) { return bits > kMagnitude ? ~(bits & kMagnitude) : bits; }
  static std::string Text(Bits bits) {
    return IsNan(bits) ? "nan" : fmt::format("0x{:0{}x}", bits, 2 * sizeof(Bits));
  }
};
using F16Order = FloatOrder<uint16_t, 0x7C00>;
using BF16Order = FloatOrder<uint16_t, 0x7F80>;
using F32Order = FloatOrder<uint32_t, 0x7F800000>;

std::vector<int64_t> Unravel(const TensorSpec& tensor, int64_t flat) {
  std::vector<int64_t> index(tensor.rank);
  for (int i = tensor.rank - 1; i >= 0; --i) {
    index[i] = flat % tensor.shape[i];
    flat /= tensor.shape[i];
  }
  return index;
}

// Which token is written to a slot of the caches; padding is not among them.
using TokensBySlot = std::unordered_map<int64_t, int64_t>;

TokensBySlot FindTokens(const Case& run) {
  const Spec& spec = run.spec;
  const auto index = [&run](int64_t i) { return workload::IndexAt(run, TensorId::kIndices, i); };
  const bool paged = spec.cache_layout == CacheLayout::kPaged;
  const int64_t seq = spec.x.rank == 3 ? spec.x.shape[1] : 1;
  TokensBySlot tokens;
  for (int64_t token = 0; token < spec.x.shape[0] * seq; ++token) {
    const int64_t slot =
        paged ? index(token)
              : token / seq * spec.k_cache.shape[1] + index(token / seq) + token % seq;
    if (slot >= 0) tokens.emplace(slot, token);
  }
  return tokens;
}

// The comparison of one output, row by row: heads and channels, the last two extents of every
// output, are a token's or a slot's.
template <class Order>
class RowComparison {
 public:
  RowComparison(const Buffer& actual, const Buffer& expected, Difference* difference)
      : actual_(actual.as<const Element>()),
        expected_(expected.as<const Element>()),
        difference_(*difference) {}

  void CompareRow(int64_t row, std::optional<int64_t> token) {
    const TensorSpec& tensor = difference_.tensor;
    const int64_t width = tensor.shape[tensor.rank - 2] * tensor.shape[tensor.rank - 1];
    for (int64_t i = row * width; i < (row + 1) * width; ++i) {
      const Element a = actual_[i];
      const Element e = expected_[i];
      if (a != e && !(Order::IsNan(a) && Order::IsNan(e))) Count(i, token);
    }
  }

 private:
  using Element = typename Order::Element;

  void Count(int64_t i, std::optional<int64_t> token) {
    const Element a = actual_[i];
    const Element e = expected_[i];
    ++difference_.mismatches;
    if (!token) ++difference_.stray_mismatches;
    if (Order::IsNan(a) || Order::IsNan(e)) {
      ++difference_.nan_mismatches;
    } else {
      const int64_t distance = std::abs(Order::Rank(a) - Order::Rank(e));
      difference_.largest = std::max(difference_.largest, distance);
    }
    if (difference_.first.size() < Difference::kFirst) {
      difference_.first.push_back({.index = Unravel(difference_.tensor, i),
                                   .token = token,
                                   .actual = Order::Text(a),
                                   .expected = Order::Text(e)});
    }
  }

  const Element* actual_;
  const Element* expected_;
  Difference& difference_;
};

template <class Order>
void Compare(const TensorField& field, const Buffer& actual, const Buffer& expected,
             const TokensBySlot& tokens, Difference* difference) {
  RowComparison<Order> comparison(actual, expected, difference);
  const auto& shape = difference->tensor.shape;
  const bool with_outer = difference->tensor.rank == 4;
  const int64_t rows = with_outer ? shape[0] * shape[1] : shape[0];
  for (int64_t row = 0; row < rows; ++row) {
    std::optional<int64_t> token = row;
    if (workload::IsCache(field.id)) {
      const auto found = tokens.find(row);
      token = found == tokens.end() ? std::nullopt : std::optional(found->second);
    }
    comparison.CompareRow(row, token);
  }
}

}  // namespace

std::vector<Difference> CompareOutputs(const Case& actual, const Buffers& expected) {
  const TokensBySlot tokens = FindTokens(actual);
  std::vector<Difference> differences;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = actual.spec.*field.spec;
    if (!field.output || !tensor.present()) continue;
    const Buffer& a = actual[field.id];
    const Buffer& e = expected[static_cast<int>(field.id)];
    if (a.size() != e.size()) continue;
    Difference difference;
    difference.name = field.name;
    difference.tensor = tensor;
    difference.elements = workload::NumElements(tensor);
    difference.written = difference.elements;
    if (workload::IsCache(field.id)) {
      difference.written = static_cast<int64_t>(tokens.size()) * tensor.shape[2] * tensor.shape[3];
    }
    if (tensor.dtype == DType::kI8) {
      Compare<Int8Order>(field, a, e, tokens, &difference);
    } else if (tensor.dtype == DType::kF16) {
      Compare<F16Order>(field, a, e, tokens, &difference);
    } else if (tensor.dtype == DType::kF32) {
      Compare<F32Order>(field, a, e, tokens, &difference);
    } else {
      Compare<BF16Order>(field, a, e, tokens, &difference);
    }
    differences.push_back(std::move(difference));
  }
  return differences;
}

bool Tolerance::Allows(const Difference& difference) const {
  if (difference.mismatches == 0) return true;
  if (!given() || difference.nan_mismatches > 0 || difference.stray_mismatches > 0) return false;
  return (max_steps < 0 || difference.largest <= max_steps) &&
         (max_fraction < 0 || difference.fraction_of_written() <= max_fraction);
}

}  // namespace ropekv::cli
