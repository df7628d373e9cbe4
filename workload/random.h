// SPDX-License-Identifier: Apache-2.0
// Random values that are the same on every platform: the standard library's distributions are not,
// nor are log and cos of its maths library, so everything here is integers and exact products.
#ifndef ROPEKV_WORKLOAD_RANDOM_H_
#define ROPEKV_WORKLOAD_RANDOM_H_

#include <cstdint>
#include <random>

namespace ropekv::workload {

class Random {
 public:
  // Streams of one seed are independent of each other.
  Random(uint64_t seed, uint64_t stream);

  uint64_t Bits() { return engine_(); }
  // 0 <= Below(n) < n.
  int64_t Below(int64_t n);
  float Uniform(float low, float high);
  // Mean 0, standard deviation 1, within 3.5: the sum of four uniform values.
  float Normal();

 private:
  std::mt19937_64 engine_;
};

}  // namespace ropekv::workload

#endif  // ROPEKV_WORKLOAD_RANDOM_H_
