// SPDX-License-Identifier: Apache-2.0
// The subcommands, one file each.
#ifndef ROPEKV_FRONTENDS_CLI_COMMANDS_H_
#define ROPEKV_FRONTENDS_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>

namespace ropekv::cli {

enum ExitCode : int { kSuccess = 0, kMismatch = 1, kBadInput = 2 };

// Each adds one subcommand, which runs while `app` parses the command line and throws InputError.
// Only a subcommand that compares sets *exit_code.
void AddRun(CLI::App& app);
void AddVerify(CLI::App& app, ExitCode* exit_code);
void AddGen(CLI::App& app);
void AddInfo(CLI::App& app);
void AddBench(CLI::App& app);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_COMMANDS_H_
