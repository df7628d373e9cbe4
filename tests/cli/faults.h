// SPDX-License-Identifier: Apache-2.0
// The command inside the test, in a child for each run, with calls of the system or allocations
// that fail. The linker's --wrap makes the command's main and its calls come here.
#ifndef ROPEKV_TESTS_CLI_FAULTS_H_
#define ROPEKV_TESTS_CLI_FAULTS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ropekv::cli {

// What the command asks the system for.
enum class SystemCall { kOpen, kRead, kWrite, kSeek, kStatus, kSync, kRename };
inline constexpr SystemCall kSystemCalls[] = {
    SystemCall::kOpen,   SystemCall::kRead, SystemCall::kWrite, SystemCall::kSeek,
    SystemCall::kStatus, SystemCall::kSync, SystemCall::kRename};

// In a child: the n-th of these calls from now on fails with this errno.
void FailSystemCall(SystemCall call, int64_t n, int error);
// In a child: each read and write is interrupted first, and then moves a few bytes only.
void MoveFewBytes();

struct FaultOutcome {
  int exit_code = -1;   // -N: it died of signal N
  bool failed = false;  // whether the fault was reached
  std::string out, err;
};

// Runs the command with these arguments; the child calls `prepare` first.
FaultOutcome RunInChild(const std::vector<std::string>& arguments,
                        const std::function<void()>& prepare, const std::string& out_path = "");

}  // namespace ropekv::cli

#endif  // ROPEKV_TESTS_CLI_FAULTS_H_
