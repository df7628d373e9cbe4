// SPDX-License-Identifier: Apache-2.0
// Files read from front to back, and files that appear whole or not at all.
#ifndef ROPEKV_FRONTENDS_CLI_FILE_H_
#define ROPEKV_FRONTENDS_CLI_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "frontends/cli/descriptor.h"

namespace ropekv::cli {

// A regular file, or whatever an open descriptor reads from: "-" is stdin, and see FindDescriptor.
// Everything throws InputError naming the path.
class InputFile {
 public:
  explicit InputFile(std::string path);

  // As messages name it.
  const std::string& path() const { return path_; }
  // The bytes to read, unless only their end will tell, as in a pipe.
  std::optional<int64_t> size() const { return size_; }

  // The next bytes; returns how many there are, fewer than asked for only at the end.
  size_t ReadUpTo(std::span<std::byte> bytes);
  // The same, but the end is an error.
  void Read(std::span<std::byte> bytes);
  void Skip(int64_t count);

 private:
  std::string path_;
  Descriptor descriptor_;
  std::optional<int64_t> size_;
};

// Replaces a file, or writes to an open descriptor ("-" is stdout, and see FindDescriptor).
// Everything throws InputError naming the path. One at a time.
class OutputFile {
 public:
  using Parts = std::vector<std::span<const std::byte>>;

  // An existing file keeps its owner and mode, and must be ours to write.
  explicit OutputFile(std::string path);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  // As messages name it.
  const std::string& path() const { return path_; }
  bool is_stdout() const { return stream_ == STDOUT_FILENO; }

  // Takes the contents, whose memory must stay until Commit. They are written beside `path` under a
  // temporary name, which is removed unless Commit follows; also by SIGINT, SIGTERM and SIGHUP.
  void Write(Parts parts);
  // What no other file can take the place of is overwritten where it is: a file that is bound into
  // a container by itself, or is in a folder that is not ours to write.
  void Commit();

 private:
  // Leaves `temporary_` without a file if there can be none that is like the target.
  void OpenTemporary();
  void WriteTo(const Descriptor& file) const;
  void Overwrite() const;

  std::string path_;
  std::optional<int> stream_;
  std::string target_;  // behind any symbolic link
  bool exists_ = false;
  std::string temporary_name_;
  Descriptor temporary_;
  Parts parts_;
};

// Whether what is read from `input` and what is written to `output` is one regular file.
bool AreOneFile(const std::string& input, const std::string& output);

// What ~OutputFile does of it, for where no destructor comes to that.
void RemoveTemporary() noexcept;

// Sends out what has been printed, or throws InputError.
void FlushStdout();

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_FILE_H_
