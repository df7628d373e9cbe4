// SPDX-License-Identifier: Apache-2.0
// A directory of one test's own, and whole files as strings.
#ifndef ROPEKV_TESTS_CLI_SCRATCH_H_
#define ROPEKV_TESTS_CLI_SCRATCH_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <ios>
#include <set>
#include <sstream>
#include <string>
#include <system_error>

namespace ropekv::cli {

class Scratch {
 public:
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ropekv-XXXXXX").string();
    directory_ = mkdtemp(pattern.data()) == nullptr ? "" : pattern;
    if (directory_.empty()) ADD_FAILURE() << "cannot make " << pattern;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string operator/(const std::string& name) const { return directory_ + "/" + name; }
  const std::string& path() const { return directory_; }

  // The names of everything in the directory, hidden files included.
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }

 private:
  std::string directory_;
};

inline std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

inline void WriteWhole(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  ASSERT_TRUE(file.flush().good()) << path;
}

}  // namespace ropekv::cli

#endif  // ROPEKV_TESTS_CLI_SCRATCH_H_
