// SPDX-License-Identifier: Apache-2.0
#include "workload/rope_table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace ropekv::workload {
namespace {

double Llama3(double frequency, const RopeScaling& scaling) {
  const double turns = scaling.original_context * frequency / (2 * std::numbers::pi);
  if (turns > scaling.high_freq) return frequency;
  if (turns < scaling.low_freq) return frequency / scaling.factor;
  const double keep = (turns - scaling.low_freq) / (scaling.high_freq - scaling.low_freq);
  return (1 - keep) * frequency / scaling.factor + keep * frequency;
}

// Of frequency number i. The ends of the ramp are not rounded to whole numbers, which is what
// gpt-oss asks for.
double Yarn(int64_t i, double frequency, const Model& model) {
  const RopeScaling& scaling = model.scaling;
  const auto dim = static_cast<double>(model.rotary_dim());
  // The number of the frequency that turns so many times in original_context.
  const auto number = [&](double turns) {
    return dim * std::log(scaling.original_context / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(model.rope_theta));
  };
  const double low = std::max(number(scaling.beta_fast), 0.0);
  const double high = std::min(number(scaling.beta_slow), dim - 1);
  const double stretch = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  return frequency / scaling.factor * stretch + frequency * (1 - stretch);
}

double Scaled(int64_t i, double frequency, const Model& model) {
  switch (model.scaling.rule) {
    case RopeScaling::Rule::kNone: return frequency;
    case RopeScaling::Rule::kLinear: return frequency / model.scaling.factor;
    case RopeScaling::Rule::kLlama3: return Llama3(frequency, model.scaling);
    case RopeScaling::Rule::kYarn: return Yarn(i, frequency, model);
  }
  return frequency;
}

}  // namespace

RopeTable::RopeTable(const Model& model)
    : interleaved_(model.rotation.style == RotaryStyle::kInterleaved) {
  const int64_t half = model.rotary_dim() / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = -static_cast<double>(i) / static_cast<double>(half);
    frequencies_.push_back(
        static_cast<float>(Scaled(i, std::pow(model.rope_theta, exponent), model)));
  }
  if (model.scaling.rule == RopeScaling::Rule::kYarn) {
    amplitude_ = static_cast<float>(0.1 * std::log(model.scaling.factor) + 1);
  }
}

void RopeTable::Row(int64_t position, std::span<float> cos, std::span<float> sin) const {
  const size_t half = frequencies_.size();
  for (size_t i = 0; i < half; ++i) {
    // The angle is a binary32 product because that is what the models were trained with; its
    // rounding error at a large position is far larger than that of cos and sin.
    const float angle = static_cast<float>(position) * frequencies_[i];
    const float c = amplitude_ * static_cast<float>(std::cos(static_cast<double>(angle)));
    const float s = amplitude_ * static_cast<float>(std::sin(static_cast<double>(angle)));
    if (cos.size() == half) {
      cos[i] = c, sin[i] = s;
      continue;
    }
    const size_t a = interleaved_ ? 2 * i : i, b = interleaved_ ? 2 * i + 1 : i + half;
    cos[a] = cos[b] = c;
    sin[a] = sin[b] = s;
  }
}

}  // namespace ropekv::workload
