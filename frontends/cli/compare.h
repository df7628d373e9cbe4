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
  int64_t mismatches = 0;
  int64_t nan_mismatches = 0;  // of those, the ones where only one side is NaN
  int64_t largest = 0;         // in ulp, or int8 steps; over the mismatches without a NaN
  // The first mismatch.
  std::vector<int64_t> index;
  std::string actual;
  std::string expected;

  const char* unit() const { return tensor.dtype == DType::kI8 ? "steps" : "ulp"; }
  double fraction() const {
    return elements == 0 ? 0 : static_cast<double>(mismatches) / static_cast<double>(elements);
  }
};

// Every output that `spec` has, in the order of TensorId.
std::vector<Difference> CompareOutputs(const Spec& spec, const workload::Buffers& actual,
                                       const workload::Buffers& expected);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_COMPARE_H_
