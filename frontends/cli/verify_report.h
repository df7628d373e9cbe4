// SPDX-License-Identifier: Apache-2.0
// A comparison as a table or JSON.
#ifndef ROPEKV_FRONTENDS_CLI_VERIFY_REPORT_H_
#define ROPEKV_FRONTENDS_CLI_VERIFY_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "frontends/cli/compare.h"
#include "ropekv/ropekv.h"

namespace ropekv::cli {

struct Comparison {
  std::string case_path;
  std::string against;
  Tolerance tolerance;
  std::vector<Difference> differences;
  // Names: outputs of the case that are not in the file, and tensors there that are no output.
  std::vector<std::string> not_compared;
  std::vector<std::string> ignored;

  int64_t elements() const;
  int64_t mismatches() const;
  bool passed() const;
};

void PrintTable(const Plan& plan, const Comparison& comparison);
void PrintJson(const Plan& plan, const Comparison& comparison);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_VERIFY_REPORT_H_
