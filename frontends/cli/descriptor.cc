// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/descriptor.h"

#include <fcntl.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "frontends/cli/errors.h"

namespace ropekv::cli {

void ReserveStandardDescriptors() {
  for (int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(number, F_GETFD) >= 0) continue;
    // open() takes the lowest number that is free: this one. The mode is the one not used.
    const int mode = number == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (open("/dev/null", mode) < 0) throw InputError("/dev/null", ErrnoText(errno));
  }
}

std::optional<int> FindDescriptor(const std::string& path, int standard) {
  namespace fs = std::filesystem;
  if (path == "-") return standard;
  std::error_code error;
  const fs::path folder = fs::canonical("/proc/self/fd", error);
  if (error) return std::nullopt;
  fs::path link = path;
  constexpr int kMostLinks = 40;  // as in the kernel
  for (int i = 0; i < kMostLinks && fs::is_symlink(link, error); ++i) {
    if (fs::canonical(link.parent_path(), error) == folder) {
      const std::string name = link.filename();
      int number = -1;
      std::from_chars(name.data(), name.data() + name.size(), number);
      return number;
    }
    link = link.parent_path() / fs::read_symlink(link, error);
  }
  return std::nullopt;
}

}  // namespace ropekv::cli
