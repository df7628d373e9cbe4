// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "frontends/cli/errors.h"

namespace ropekv::cli {
namespace {

namespace fs = std::filesystem;

// What the signal handler removes; empty when there is nothing.
std::array<char, 4096> g_temporary{};

constexpr int kFatalSignals[] = {SIGINT, SIGTERM, SIGHUP};

extern "C" void RemoveTemporaryAndDie(int signal_number) {
  RemoveTemporary();
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
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (error == std::errc::filename_too_long) throw InputError(path, error.message());
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

bool CopyOwnerAndMode(const std::string& from, const Descriptor& to) {
  struct stat status {};
  return stat(from.c_str(), &status) == 0 &&
         fchown(to.number(), status.st_uid, status.st_gid) == 0 &&
         fchmod(to.number(), status.st_mode & 07777) == 0;
}

}  // namespace

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  const std::optional<int> stream = FindDescriptor(path_, STDIN_FILENO);
  if (path_ == "-") path_ = "stdin";
  // Without O_NONBLOCK opening a FIFO would wait for its writer.
  descriptor_ = Descriptor(stream ? fcntl(*stream, F_DUPFD_CLOEXEC, 0)
                                  : open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!descriptor_.valid() || fstat(descriptor_.number(), &status) != 0) {
    throw InputError(path_, ErrnoText(errno));
  }
  if (S_ISREG(status.st_mode)) {
    const off_t position = lseek(descriptor_.number(), 0, SEEK_CUR);
    size_ = std::max<int64_t>(status.st_size - position, 0);
  } else if (!stream) {
    throw InputError(path_, "is not a regular file");
  }
}

size_t InputFile::ReadUpTo(std::span<std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const auto rest = bytes.subspan(done);
    const ssize_t count = read(descriptor_.number(), rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw InputError(path_, ErrnoText(errno));
    if (count == 0) break;
    done += count;
  }
  return done;
}

void InputFile::Read(std::span<std::byte> bytes) {
  if (ReadUpTo(bytes) < bytes.size()) throw InputError(path_, "truncated: ended while being read");
}

void InputFile::Skip(int64_t count) {
  if (size_) {
    if (lseek(descriptor_.number(), count, SEEK_CUR) < 0) {
      throw InputError(path_, ErrnoText(errno));
    }
    return;
  }
  std::array<std::byte, 1 << 14> scratch;
  for (; count > 0; count -= std::min<int64_t>(count, scratch.size())) {
    Read(std::span(scratch).first(std::min<int64_t>(count, scratch.size())));
  }
}

OutputFile::OutputFile(std::string path)
    : path_(std::move(path)), stream_(FindDescriptor(path_, STDOUT_FILENO)) {
  if (path_ == "-") path_ = "stdout";
  if (stream_) return;
  target_ = ResolveOutput(path_);
  std::error_code error;
  exists_ = fs::exists(target_, error);
  if (exists_ && faccessat(AT_FDCWD, target_.c_str(), W_OK, AT_EACCESS) != 0) {
    throw InputError(path_, ErrnoText(errno));
  }
  OpenTemporary();
}

void OutputFile::OpenTemporary() {
  const fs::path parent = fs::path(target_).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  // The name may be left over from a process that was killed and had our number.
  for (int attempt = 0; !temporary_.valid(); ++attempt) {
    temporary_name_ = fmt::format("{}/.ropekv-{}-{}.tmp", folder, getpid(), attempt);
    temporary_ =
        Descriptor(open(temporary_name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (temporary_.valid() || (errno == EEXIST && attempt < 100)) continue;
    if (exists_) return;
    throw InputError(path_, fmt::format("folder {}: {}", folder, ErrnoText(errno)));
  }
  RemoveOnSignal(temporary_name_);
  if (exists_ && !CopyOwnerAndMode(target_, temporary_)) {
    unlink(temporary_name_.c_str());
    temporary_ = Descriptor();
  }
}

OutputFile::~OutputFile() {
  if (temporary_.valid()) unlink(temporary_name_.c_str());
  g_temporary[0] = '\0';
}

void OutputFile::WriteTo(const Descriptor& file) const {
  for (std::span<const std::byte> bytes : parts_) {
    while (!bytes.empty()) {
      const ssize_t count = write(file.number(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw InputError(path_, ErrnoText(errno));
      bytes = bytes.subspan(count);
    }
  }
}

void OutputFile::Write(Parts parts) {
  parts_ = std::move(parts);
  if (!temporary_.valid()) return;
  WriteTo(temporary_);
  if (fsync(temporary_.number()) != 0) throw InputError(path_, ErrnoText(errno));
}

void OutputFile::Commit() {
  if (stream_) return WriteTo(Descriptor(dup(*stream_)));
  if (temporary_.valid()) {
    if (rename(temporary_name_.c_str(), target_.c_str()) == 0) {
      temporary_ = Descriptor();
      return;
    }
    if (!exists_) throw InputError(path_, ErrnoText(errno));
  }
  Overwrite();
}

void OutputFile::Overwrite() const {
  const Descriptor file(open(target_.c_str(), O_WRONLY | O_CLOEXEC));
  struct stat old {};
  if (!file.valid() || fstat(file.number(), &old) != 0) throw InputError(path_, ErrnoText(errno));
  off_t size = 0;
  for (const auto& part : parts_) size += static_cast<off_t>(part.size());
  // Room for all before any of the old contents is lost, where the file system can promise it.
  if (fallocate(file.number(), 0, 0, size) != 0 && errno != EOPNOTSUPP) {
    const int error = errno;
    std::error_code ignored;
    fs::resize_file(target_, old.st_size, ignored);
    throw InputError(path_, ErrnoText(error));
  }
  WriteTo(file);
  if (ftruncate(file.number(), size) != 0 || fsync(file.number()) != 0) {
    throw InputError(path_, ErrnoText(errno));
  }
}

bool AreOneFile(const std::string& input, const std::string& output) {
  const auto status_of = [](const std::string& path, int standard, struct stat* status) {
    const std::optional<int> stream = FindDescriptor(path, standard);
    return (stream ? fstat(*stream, status) : stat(path.c_str(), status)) == 0;
  };
  struct stat read {
  }, written{};
  return status_of(input, STDIN_FILENO, &read) && status_of(output, STDOUT_FILENO, &written) &&
         S_ISREG(read.st_mode) && read.st_dev == written.st_dev && read.st_ino == written.st_ino;
}

void RemoveTemporary() noexcept { unlink(g_temporary.data()); }

void FlushStdout() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw InputError("stdout", ErrnoText(errno));
  }
}

}  // namespace ropekv::cli
