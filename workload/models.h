// SPDX-License-Identifier: Apache-2.0
// The attention shapes and rotary parameters of published models.
#ifndef ROPEKV_WORKLOAD_MODELS_H_
#define ROPEKV_WORKLOAD_MODELS_H_

#include <cstdint>
#include <span>
#include <string_view>

namespace ropekv::workload {

// How a model stretches its rotary frequencies beyond the context it was first trained on.
struct RopeScaling {
  enum class Rule : uint8_t { kNone, kLinear, kLlama3 };

  Rule rule = Rule::kNone;
  double factor = 1;
  // kLlama3 only: wavelengths below original_context / high_freq stay, those above
  // original_context / low_freq are stretched by `factor`, those between are interpolated.
  double low_freq = 1;
  double high_freq = 4;
  double original_context = 8192;

  static constexpr RopeScaling None() { return {}; }
  static constexpr RopeScaling Linear(double factor) { return {Rule::kLinear, factor}; }
  static constexpr RopeScaling Llama3(double factor) { return {Rule::kLlama3, factor}; }
};

struct Model {
  std::string_view name;
  int64_t q_heads;
  int64_t kv_heads;
  int64_t head_dim;
  double rope_theta;
  RopeScaling scaling;
  bool qkv_bias;

  int64_t hidden() const { return (q_heads + 2 * kv_heads) * head_dim; }
};

std::span<const Model> Models();
// Upper and lower case are alike; null if there is no such model.
const Model* FindModel(std::string_view name);

}  // namespace ropekv::workload

#endif  // ROPEKV_WORKLOAD_MODELS_H_
