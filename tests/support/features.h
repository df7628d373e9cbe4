// SPDX-License-Identifier: Apache-2.0
// What a Spec asks for beyond the NPU's operator, and how often that was met: a suite that never
// drew a feature must not pass for having tested it.
#ifndef ROPEKV_TESTS_SUPPORT_FEATURES_H_
#define ROPEKV_TESTS_SUPPORT_FEATURES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>

#include "ropekv/ropekv.h"

namespace ropekv::testing {

struct Feature {
  const char* name;
  bool (*in)(const Spec& spec);
  bool in_all_f32 = false;  // whatever else a Spec of f32 outputs has
};

inline bool AnyScale(const Spec& spec, bool (*is)(const TensorSpec& scale)) {
  return is(spec.scale_k) || is(spec.scale_v) || is(spec.offset_k) || is(spec.offset_v);
}

inline constexpr Feature kFeatures[] = {
    {"positions", [](const Spec& s) { return s.positions.present(); }},
    {"positions of 64 bits", [](const Spec& s) { return s.positions.dtype == DType::kI64; }},
    {"positions in two dimensions", [](const Spec& s) { return s.positions.rank == 2; }},
    {"cos and sin in one table",
     [](const Spec& s) {
       return s.positions.present() && s.cos.stride[0] == 2 * s.cos.shape[1] &&
              s.cos.stride[1] == 1;
     }},
    {"an angle for a pair",
     [](const Spec& s) {
       const int64_t rotary_dim = s.rotary_dim ? s.rotary_dim : s.k_cache.shape[3];
       return s.cos.shape[s.cos.rank - 1] == rotary_dim / 2;
     }},
    {"partial rotation",
     [](const Spec& s) { return s.rotary_dim != 0 && s.rotary_dim < s.k_cache.shape[3]; }},
    {"interleaved pairs",
     [](const Spec& s) { return s.rotary_style == RotaryStyle::kInterleaved; }},
    {"f32 angles", [](const Spec& s) { return s.cos.dtype == DType::kF32; }, true},
    {"indices of 64 bits", [](const Spec& s) { return s.indices.dtype == DType::kI64; }},
    {"indices in two dimensions", [](const Spec& s) { return s.indices.rank == 2; }},
    {"f16 caches", [](const Spec& s) { return s.k_cache.dtype == DType::kF16; }},
    {"bf16 caches", [](const Spec& s) { return s.k_cache.dtype == DType::kBF16; }},
    {"f32 caches", [](const Spec& s) { return s.k_cache.dtype == DType::kF32; }},
    {"a scale for a head",
     [](const Spec& s) {
       return AnyScale(s, [](const TensorSpec& t) { return t.rank == 2 && t.shape[1] == 1; });
     }},
    {"a scale for all",
     [](const Spec& s) {
       return AnyScale(s, [](const TensorSpec& t) { return t.rank == 1 && t.shape[0] == 1; });
     }},
};

inline constexpr DType kCacheDTypes[] = {DType::kI8, DType::kF16, DType::kBF16, DType::kF32};

// In how many of some cases each feature was, and in how many none was; also each rotary style with
// each dtype of caches.
class FeatureCounts {
 public:
  void Add(const Spec& spec) {
    bool any = false;
    for (size_t i = 0; i < with_.size(); ++i) {
      const bool in = kFeatures[i].in(spec);
      with_[i] += in;
      any = any || (in && !(kFeatures[i].in_all_f32 && spec.q.dtype == DType::kF32));
    }
    without_ += !any;
    auto& caches = together_[spec.rotary_style == RotaryStyle::kInterleaved];
    for (size_t i = 0; i < caches.size(); ++i) caches[i] += spec.k_cache.dtype == kCacheDTypes[i];
  }
  // "", or the features that were in fewer than `least` cases, and what met in fewer than a third.
  std::string RarerThan(int64_t least) const {
    std::string rare = without_ < least ? "none: " + std::to_string(without_) + " " : "";
    for (size_t i = 0; i < with_.size(); ++i) {
      if (with_[i] >= least) continue;
      rare += std::string(kFeatures[i].name) + ": " + std::to_string(with_[i]) + " ";
    }
    for (const bool interleaved : {false, true}) {
      for (size_t i = 0; i < std::size(kCacheDTypes); ++i) {
        const int64_t count = together_[interleaved][i];
        if (count >= least / 3) continue;
        rare += std::string(interleaved ? "interleaved pairs" : "halves") + " with caches of " +
                Name(kCacheDTypes[i]) + ": " + std::to_string(count) + " ";
      }
    }
    return rare;
  }

 private:
  std::array<int64_t, std::size(kFeatures)> with_{};
  int64_t without_ = 0;
  std::array<std::array<int64_t, std::size(kCacheDTypes)>, 2> together_{};  // second: interleaved
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_FEATURES_H_
