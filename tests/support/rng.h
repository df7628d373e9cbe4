// SPDX-License-Identifier: Apache-2.0
// Random numbers that replay: the same seed gives the same case on every platform and compiler.
#ifndef ROPEKV_TESTS_SUPPORT_RNG_H_
#define ROPEKV_TESTS_SUPPORT_RNG_H_

#include <cstdint>
#include <initializer_list>
#include <random>

namespace ropekv::testing {

class Rng {
 public:
  explicit Rng(uint64_t seed) : engine_(seed) {}

  uint64_t Bits() { return engine_(); }
  // In [low, high].
  int64_t Int(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Bits() % static_cast<uint64_t>(high - low + 1));
  }
  // In [low, high).
  double Real(double low, double high) {
    return low + (high - low) * static_cast<double>(Bits() >> 11) * 0x1p-53;
  }
  bool Chance(double probability) { return Real(0, 1) < probability; }
  template <class T>
  T Pick(std::initializer_list<T> choices) {
    return choices.begin()[Int(0, static_cast<int64_t>(choices.size()) - 1)];
  }

 private:
  std::mt19937_64 engine_;  // its sequence is fixed by the standard; distributions are not
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_RNG_H_
