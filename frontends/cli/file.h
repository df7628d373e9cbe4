// SPDX-License-Identifier: Apache-2.0
// Files read by position, and files that appear whole or not at all.
#ifndef ROPEKV_FRONTENDS_CLI_FILE_H_
#define ROPEKV_FRONTENDS_CLI_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ropekv::cli {

// A regular file, open for reading. Everything throws InputError naming the path.
class InputFile {
 public:
  explicit InputFile(std::string path);
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  void ReadAt(int64_t offset, std::span<std::byte> bytes) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// Written beside `path` under a temporary name, which takes the place of `path` on Commit and is
// removed otherwise, also by SIGINT, SIGTERM and SIGHUP. One at a time.
class OutputFile {
 public:
  explicit OutputFile(std::string path);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  void Write(std::span<const std::byte> bytes);
  void Commit();

 private:
  std::string path_;    // as given, for messages
  std::string target_;  // behind any symbolic link
  std::string temporary_;
  int descriptor_ = -1;
};

// Sends out what has been printed, or throws InputError.
void FlushStdout();

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_FILE_H_
