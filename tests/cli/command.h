// SPDX-License-Identifier: Apache-2.0
// The built binary, run as a user would.
#ifndef ROPEKV_TESTS_CLI_COMMAND_H_
#define ROPEKV_TESTS_CLI_COMMAND_H_

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cli/scratch.h"

namespace ropekv::cli {

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Runs `ropekv` with `arguments`, which the shell sees. `before` is shell text in front of the
// command, an environment variable say; stdout goes to `out_path` if that is given.
inline Outcome Ropekv(const std::string& arguments, const std::string& before = "",
                      const std::string& out_path = "") {
  const Scratch scratch;
  const std::string out = out_path.empty() ? scratch / "out" : out_path;
  const std::string command = before + " '" + ROPEKV_BINARY + "' " + arguments + " >'" + out +
                              "' 2>'" + scratch / "err" + "'";
  const int status = std::system(command.c_str());
  Outcome outcome;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (out_path.empty()) outcome.out = ReadWhole(out);
  outcome.err = ReadWhole(scratch / "err");
  return outcome;
}

// Demands a report and no complaint.
inline void Succeeds(const std::string& arguments) {
  const Outcome outcome = Ropekv(arguments);
  ASSERT_EQ(outcome.exit_code, 0) << arguments << "\n" << outcome.err;
  EXPECT_EQ(outcome.err, "") << arguments;
  EXPECT_NE(outcome.out, "") << arguments;
}

}  // namespace ropekv::cli

#endif  // ROPEKV_TESTS_CLI_COMMAND_H_
