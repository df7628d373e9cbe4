// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/faults.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "support/failing_new.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

SystemCall failing_call;
int64_t countdown = 0;  // 0: none fails
int failing_error = 0;
bool call_failed = false;
bool few_bytes = false;
bool interrupted = false;

bool Fails(SystemCall call) {
  if (call != failing_call || countdown == 0 || --countdown > 0) return false;
  call_failed = true;
  errno = failing_error;
  return true;
}

// Every other time.
bool Interrupts() {
  interrupted = few_bytes && !interrupted;
  if (interrupted) errno = EINTR;
  return interrupted;
}

size_t Few(size_t size) { return few_bytes ? std::min<size_t>(size, 997) : size; }

bool* SharedFlag() {
  static auto* const flag = static_cast<bool*>(
      mmap(nullptr, sizeof(bool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  return flag;
}

void Redirect(const std::string& path, int descriptor) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND, 0666);
  dup2(file, descriptor);
  close(file);
}

}  // namespace
}  // namespace ropekv::cli

using ropekv::cli::SystemCall;

extern "C" {

int __real_main(int argc, char** argv);
int __real_open(const char* path, int flags, mode_t mode);
ssize_t __real_read(int file, void* bytes, size_t size);
ssize_t __real_write(int file, const void* bytes, size_t size);
off_t __real_lseek(int file, off_t offset, int whence);
int __real_fstat(int file, struct stat* status);
int __real_fsync(int file);
int __real_rename(const char* from, const char* to);

int __wrap_main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

int __wrap_open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return ropekv::cli::Fails(SystemCall::kOpen) ? -1 : __real_open(path, flags, mode);
}
ssize_t __wrap_read(int file, void* bytes, size_t size) {
  if (ropekv::cli::Fails(SystemCall::kRead) || ropekv::cli::Interrupts()) return -1;
  return __real_read(file, bytes, ropekv::cli::Few(size));
}
ssize_t __wrap_write(int file, const void* bytes, size_t size) {
  if (ropekv::cli::Fails(SystemCall::kWrite) || ropekv::cli::Interrupts()) return -1;
  return __real_write(file, bytes, ropekv::cli::Few(size));
}
off_t __wrap_lseek(int file, off_t offset, int whence) {
  return ropekv::cli::Fails(SystemCall::kSeek) ? -1 : __real_lseek(file, offset, whence);
}
int __wrap_fstat(int file, struct stat* status) {
  return ropekv::cli::Fails(SystemCall::kStatus) ? -1 : __real_fstat(file, status);
}
int __wrap_fsync(int file) {
  return ropekv::cli::Fails(SystemCall::kSync) ? -1 : __real_fsync(file);
}
int __wrap_rename(const char* from, const char* to) {
  return ropekv::cli::Fails(SystemCall::kRename) ? -1 : __real_rename(from, to);
}

}  // extern "C"

namespace ropekv::cli {

void FailSystemCall(SystemCall call, int64_t n, int error) {
  failing_call = call;
  failing_error = error;
  countdown = n;
}

void MoveFewBytes() { few_bytes = true; }

FaultOutcome RunInChild(const std::vector<std::string>& arguments,
                        const std::function<void()>& prepare, const std::string& out_path) {
  const Scratch scratch;
  *SharedFlag() = false;
  std::vector<std::string> words = {"ropekv"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    Redirect("/dev/null", STDIN_FILENO);
    Redirect(out_path.empty() ? scratch / "out" : out_path, STDOUT_FILENO);
    Redirect(scratch / "err", STDERR_FILENO);
    prepare();
    const int code = __real_main(static_cast<int>(argv.size()) - 1, argv.data());
    *SharedFlag() = ropekv::testing::StopFailing() || call_failed;
    std::fflush(nullptr);
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  FaultOutcome outcome;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  // A command that ends in a handler of its own has no chance to say so.
  outcome.failed = *SharedFlag() || outcome.exit_code != 0;
  if (out_path.empty()) outcome.out = ReadWhole(scratch / "out");
  outcome.err = ReadWhole(scratch / "err");
  return outcome;
}

}  // namespace ropekv::cli
