// SPDX-License-Identifier: Apache-2.0
#include "workload/models.h"

#include <algorithm>

namespace ropekv::workload {
namespace {

#define ROPEKV_MODEL(name, q_heads, kv_heads, head_dim, theta, scaling, rotation, qkv_bias) \
  {name, q_heads, kv_heads, head_dim, theta, RopeScaling::scaling, Rotation::rotation, qkv_bias},
constexpr Model kModels[] = {
#include "workload/models.inc"
};
#undef ROPEKV_MODEL

// std::tolower depends on the locale.
char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::span<const Model> Models() { return kModels; }

const Model* FindModel(std::string_view name) {
  const auto same = [name](const Model& model) {
    return std::equal(name.begin(), name.end(), model.name.begin(), model.name.end(),
                      [](char a, char b) { return ToLower(a) == ToLower(b); });
  };
  const auto found = std::find_if(std::begin(kModels), std::end(kModels), same);
  return found == std::end(kModels) ? nullptr : found;
}

}  // namespace ropekv::workload
