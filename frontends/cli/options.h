// SPDX-License-Identifier: Apache-2.0
// Options that several subcommands share.
#ifndef ROPEKV_FRONTENDS_CLI_OPTIONS_H_
#define ROPEKV_FRONTENDS_CLI_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "ropekv/ropekv.h"

namespace ropekv::cli {

// An integer from `low` to `high`. CLI11's own checks say neither the option nor the range.
CLI::Option* AddInteger(CLI::App& app, const std::string& name, int64_t* value, int64_t low,
                        int64_t high, const std::string& description);

// How to run a case.
struct ExecutionOptions {
  std::string numerics;
  std::string target = "best";
  int64_t threads = 0;

  void AddTo(CLI::App& app);
  // Lets the options given override the case.
  void Apply(Spec* spec) const;
  RunOptions run_options() const { return {.num_threads = static_cast<int>(threads)}; }
};

// "2 x 512 tokens, 32 query and 8 kv heads of 128, x i32, ...". Precondition: MakePlan accepts
// `spec`.
std::string Describe(const Spec& spec);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_OPTIONS_H_
