// SPDX-License-Identifier: Apache-2.0
#include "workload/random.h"

namespace ropekv::workload {
namespace {

// The finaliser of SplitMix64: neighbouring seeds become unrelated ones.
uint64_t Mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed, uint64_t stream) : engine_(Mix(Mix(seed) + stream)) {}

// The bias of the remainder is below 2^-32 for the sizes of tensors.
int64_t Random::Below(int64_t n) { return static_cast<int64_t>(Bits() % static_cast<uint64_t>(n)); }

float Random::Uniform(float low, float high) {
  const float unit = static_cast<float>(Bits() >> 40) * 0x1p-24f;
  return low + unit * (high - low);
}

float Random::Normal() {
  constexpr int kMean = 4 * 0xFFFF / 2;
  constexpr float kPerDeviation = 1 / 37837.2f;  // sqrt(4 * (65536^2 - 1) / 12)
  const uint64_t bits = Bits();
  const int sum = static_cast<int>((bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) +
                                   (bits >> 48));
  return static_cast<float>(sum - kMean) * kPerDeviation;
}

}  // namespace ropekv::workload
