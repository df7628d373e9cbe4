// SPDX-License-Identifier: Apache-2.0
// The attention shapes and rotary parameters of published models.
#ifndef ROPEKV_WORKLOAD_MODELS_H_
#define ROPEKV_WORKLOAD_MODELS_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "ropekv/ropekv.h"

namespace ropekv::workload {

// How a model stretches its rotary frequencies beyond the context it was first trained on.
struct RopeScaling {
  enum class Rule : uint8_t { kNone, kLinear, kLlama3, kYarn };

  Rule rule = Rule::kNone;
  double factor = 1;
  // kLlama3 only: wavelengths below original_context / high_freq stay, those above
  // original_context / low_freq are stretched by `factor`, those between are interpolated.
  double low_freq = 1;
  double high_freq = 4;
  double original_context = 8192;
  // kYarn only: frequencies that turn more than beta_fast times in original_context stay, those
  // that turn less than beta_slow times are divided by `factor`, those between are interpolated by
  // their number.
  double beta_fast = 32;
  double beta_slow = 1;

  static constexpr RopeScaling None() { return {}; }
  static constexpr RopeScaling Linear(double factor) { return {Rule::kLinear, factor}; }
  static constexpr RopeScaling Llama3(double factor) { return {Rule::kLlama3, factor}; }
  static constexpr RopeScaling Yarn(double factor, double original_context) {
    return {.rule = Rule::kYarn, .factor = factor, .original_context = original_context};
  }
};

// Which channels of a head turn together.
struct Rotation {
  int64_t dim = 0;  // the first so many; 0: all
  RotaryStyle style = RotaryStyle::kHalf;

  static constexpr Rotation Whole() { return {}; }
  static constexpr Rotation First(int64_t dim) { return {dim}; }
  static constexpr Rotation Interleaved(int64_t dim) { return {dim, RotaryStyle::kInterleaved}; }
};

struct Model {
  std::string_view name;
  int64_t q_heads;
  int64_t kv_heads;
  int64_t head_dim;
  double rope_theta;
  RopeScaling scaling;
  Rotation rotation;
  bool qkv_bias;

  int64_t hidden() const { return (q_heads + 2 * kv_heads) * head_dim; }
  int64_t rotary_dim() const { return rotation.dim == 0 ? head_dim : rotation.dim; }
};

std::span<const Model> Models();
// Upper and lower case are alike; null if there is no such model.
const Model* FindModel(std::string_view name);

}  // namespace ropekv::workload

#endif  // ROPEKV_WORKLOAD_MODELS_H_
