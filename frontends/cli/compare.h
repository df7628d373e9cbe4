// SPDX-License-Identifier: Apache-2.0
// Two results of one call, element by element.
#ifndef ROPEKV_FRONTENDS_CLI_COMPARE_H_
#define ROPEKV_FRONTENDS_CLI_COMPARE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ropekv/ropekv.h"
#include "workload/case.h"

namespace ropekv::cli {

struct Mismatch {
  std::vector<int64_t> index;    // ends with head and channel
  std::optional<int64_t> token;  // none: a slot of a cache that no token is written to
  std::string actual;
  std::string expected;

  int64_t head() const { return index[index.size() - 2]; }
  int64_t channel() const { return index.back(); }
};

// One output tensor. Elements are equal if their bits are, or if both are NaN.
struct Difference {
  static constexpr size_t kFirst = 3;

  std::string name;
  TensorSpec tensor;
  int64_t elements = 0;
  int64_t written = 0;  // of those, the ones that the call's tokens have written
  int64_t mismatches = 0;
  int64_t nan_mismatches = 0;    // of those, the ones where only one side is NaN
  int64_t stray_mismatches = 0;  // of those, the ones that no token has written
  int64_t largest = 0;           // in ulp, or int8 steps; over the mismatches without a NaN
  std::vector<Mismatch> first;   // at most kFirst

  // A large cache hides how many of the values written to it are off.
  double fraction() const { return Fraction(elements); }
  double fraction_of_written() const { return Fraction(written); }

 private:
  double Fraction(int64_t of) const {
    return of == 0 ? 0 : static_cast<double>(mismatches) / static_cast<double>(of);
  }
};

// Every output that the case and `expected` have, in the order of TensorId.
std::vector<Difference> CompareOutputs(const workload::Case& actual,
                                       const workload::Buffers& expected);

// How far another implementation may be off; -1: not limited. Without a limit nothing may differ.
struct Tolerance {
  int64_t max_steps = -1;    // the largest difference, in int8 steps or ulp
  double max_fraction = -1;  // of the written elements, those that differ

  bool given() const { return max_steps >= 0 || max_fraction >= 0; }
  // A NaN on one side only, and a stray write, are beyond every limit.
  bool Allows(const Difference& difference) const;
};

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_COMPARE_H_
