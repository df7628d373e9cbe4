// SPDX-License-Identifier: Apache-2.0
// Two results of one call, element by element.
#ifndef ROPEKV_FRONTENDS_CLI_COMPARE_H_
#define ROPEKV_FRONTENDS_CLI_COMPARE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ropekv/ropekv.h"
#include "workload/case.h"

namespace ropekv::cli {

// One output tensor. Elements are equal if their bits are, or if both are NaN.
struct Difference {
  std::string name;
  TensorSpec tensor;
  int64_t elements = 0;
  int64_t written = 0;  // of those, the ones that the call's tokens have written
  int64_t mismatches = 0;
  int64_t nan_mismatches = 0;  // of those, the ones where only one side is NaN
  int64_t largest = 0;         // in ulp, or int8 steps; over the mismatches without a NaN
  // The first mismatch.
  std::vector<int64_t> index;
  std::string actual;
  std::string expected;

  // A large cache hides how many of the values written to it are off.
  double fraction() const { return Fraction(elements); }
  double fraction_of_written() const { return Fraction(written); }

 private:
  double Fraction(int64_t of) const {
    return of == 0 ? 0 : static_cast<double>(mismatches) / static_cast<double>(of);
  }
};

// Every output that the case has, in the order of TensorId.
std::vector<Difference> CompareOutputs(const workload::Case& actual,
                                       const workload::Buffers& expected);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_COMPARE_H_
