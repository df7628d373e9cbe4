// SPDX-License-Identifier: Apache-2.0
#include "workload/rope_table.h"

#include <cmath>
#include <cstddef>
#include <numbers>

namespace ropekv::workload {
namespace {

double Scaled(double frequency, const RopeScaling& scaling) {
  switch (scaling.rule) {
    case RopeScaling::Rule::kNone: return frequency;
    case RopeScaling::Rule::kLinear: return frequency / scaling.factor;
    case RopeScaling::Rule::kLlama3: {
      const double turns = scaling.original_context * frequency / (2 * std::numbers::pi);
      if (turns > scaling.high_freq) return frequency;
      if (turns < scaling.low_freq) return frequency / scaling.factor;
      const double keep = (turns - scaling.low_freq) / (scaling.high_freq - scaling.low_freq);
      return (1 - keep) * frequency / scaling.factor + keep * frequency;
    }
  }
  return frequency;
}

}  // namespace

RopeTable::RopeTable(const Model& model) {
  const int64_t half = model.head_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = -static_cast<double>(i) / static_cast<double>(half);
    frequencies_.push_back(
        static_cast<float>(Scaled(std::pow(model.rope_theta, exponent), model.scaling)));
  }
}

void RopeTable::Row(int64_t position, std::span<float> cos, std::span<float> sin) const {
  const size_t half = frequencies_.size();
  for (size_t i = 0; i < half; ++i) {
    // The angle is a binary32 product because that is what the models were trained with; its
    // rounding error at a large position is far larger than that of cos and sin.
    const float angle = static_cast<float>(position) * frequencies_[i];
    cos[i] = cos[i + half] = static_cast<float>(std::cos(static_cast<double>(angle)));
    sin[i] = sin[i + half] = static_cast<float>(std::sin(static_cast<double>(angle)));
  }
}

}  // namespace ropekv::workload
