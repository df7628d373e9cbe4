// SPDX-License-Identifier: Apache-2.0
// File descriptors: those that the command is started with, and those that it owns.
#ifndef ROPEKV_FRONTENDS_CLI_DESCRIPTOR_H_
#define ROPEKV_FRONTENDS_CLI_DESCRIPTOR_H_

#include <unistd.h>

#include <optional>
#include <string>
#include <utility>

namespace ropekv::cli {

// Closed when it goes; -1 if there is none.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }

  bool valid() const { return number_ >= 0; }
  int number() const { return number_; }

 private:
  int number_;
};

// Opens those of stdin, stdout and stderr that are closed, so that no file can take their numbers
// and receive what is printed. Reading and writing them still fails.
void ReserveStandardDescriptors();

// The open descriptor that `path` is another name of: `standard` for "-"; N for /dev/fd/N and for
// whatever links to it, as /dev/stdout does.
std::optional<int> FindDescriptor(const std::string& path, int standard);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_DESCRIPTOR_H_
