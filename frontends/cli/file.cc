// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "frontends/cli/errors.h"

namespace ropekv::cli {
namespace {

// What the signal handler removes; empty when there is nothing.
std::array<char, 4096> g_temporary{};

constexpr int kFatalSignals[] = {SIGINT, SIGTERM, SIGHUP};

extern "C" void RemoveTemporaryAndDie(int signal_number) {
  unlink(g_temporary.data());
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void RemoveOnSignal(const std::string& temporary) {
  if (temporary.size() >= g_temporary.size()) return;
  std::memcpy(g_temporary.data(), temporary.c_str(), temporary.size() + 1);
  for (int signal_number : kFatalSignals) {
    // A signal that the caller (nohup, say) has set to be ignored stays so.
    if (std::signal(signal_number, RemoveTemporaryAndDie) == SIG_IGN) {
      std::signal(signal_number, SIG_IGN);
    }
  }
}

// Follows a symbolic link, so that writing to it changes what it points at, and refuses to replace
// anything but a regular file: a rename would turn /dev/null into one.
std::string ResolveOutput(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) throw InputError(path, "is a directory");
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw InputError(path, "exists and is not a regular file");
  }
  if (fs::is_symlink(fs::symlink_status(path, error))) {
    const fs::path target = fs::canonical(path, error);
    if (error) throw InputError(path, "is a symbolic link to nothing");
    return target.string();
  }
  return path;
}

}  // namespace

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  // Without O_NONBLOCK opening a FIFO would wait for its writer.
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) throw InputError(path_, ErrnoText(errno));
  struct stat status {};
  const bool regular = fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  size_ = status.st_size;
  if (!regular) {
    close(descriptor_);
    throw InputError(path_, "is not a regular file");
  }
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void InputFile::ReadAt(int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = pread(descriptor_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw InputError(path_, ErrnoText(errno));
    if (count == 0) throw InputError(path_, "shrank while it was being read");
    bytes = bytes.subspan(count);
    offset += count;
  }
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)), target_(ResolveOutput(path_)) {
  const std::string directory = std::filesystem::path(target_).parent_path().string();
  const std::string prefix = directory.empty() ? "" : directory + "/";
  // The name may be left over from a process that was killed and had our number.
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_ = fmt::format("{}.ropekv-{}-{}.tmp", prefix, getpid(), attempt);
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && (errno != EEXIST || attempt == 100)) {
      throw InputError(path_, ErrnoText(errno));
    }
  }
  RemoveOnSignal(temporary_);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
  g_temporary[0] = '\0';
}

void OutputFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw InputError(path_, ErrnoText(errno));
    bytes = bytes.subspan(count);
  }
}

void OutputFile::Commit() {
  if (fsync(descriptor_) != 0 || close(std::exchange(descriptor_, -1)) != 0 ||
      rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw InputError(path_, ErrnoText(errno));
  }
  temporary_.clear();
}

void FlushStdout() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw InputError("stdout", ErrnoText(errno));
  }
}

}  // namespace ropekv::cli
