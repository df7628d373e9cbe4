// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

TEST(FindDescriptor, KnowsEveryName) {
  EXPECT_EQ(FindDescriptor("-", 0), 0);
  EXPECT_EQ(FindDescriptor("-", 1), 1);
  EXPECT_EQ(FindDescriptor("/dev/stdin", 1), 0);
  EXPECT_EQ(FindDescriptor("/dev/stdout", 0), 1);
  EXPECT_EQ(FindDescriptor("/dev/stderr", 1), 2);
  EXPECT_EQ(FindDescriptor("/dev/fd/2", 1), 2);
  EXPECT_EQ(FindDescriptor("/proc/self/fd/2", 1), 2);
  const Scratch scratch;
  std::filesystem::create_symlink("/dev/stdout", scratch / "link");
  std::filesystem::create_symlink("link", scratch / "further");
  EXPECT_EQ(FindDescriptor(scratch / "further", 0), 1);
}

TEST(FindDescriptor, LeavesFilesAlone) {
  const Scratch scratch;
  WriteWhole(scratch / "1", "");
  std::filesystem::create_symlink("1", scratch / "-");
  std::filesystem::create_symlink("loop", scratch / "loop");
  for (const std::string& path : {scratch / "1", scratch / "-", scratch / "loop", scratch / "none",
                                  scratch.path(), std::string("./-"), std::string("/dev/null"),
                                  std::string("/dev/fd"), std::string("/dev/fd/999999")}) {
    EXPECT_EQ(FindDescriptor(path, 1), std::nullopt) << path;
  }
}

}  // namespace
}  // namespace ropekv::cli
