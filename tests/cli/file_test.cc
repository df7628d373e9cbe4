// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/file.h"

#include <gtest/gtest.h>

#include "frontends/cli/errors.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

TEST(InputFile, SaysWhenItShrinks) {
  const Scratch scratch;
  WriteWhole(scratch / "in", "0123456789");
  const InputFile file(scratch / "in");
  EXPECT_EQ(file.size(), 10);
  std::filesystem::resize_file(scratch / "in", 4);
  std::vector<std::byte> bytes(10);
  EXPECT_THROW(file.ReadAt(0, bytes), InputError);
}

TEST(Escape, KeepsMessagesOnOneLine) {
  EXPECT_EQ(Escape("a\nb\x7F\033"), "a\\x0ab\\x7f\\x1b");
  EXPECT_EQ(Quote(std::string(100, 'x')), "'" + std::string(80, 'x') + "...'");
}

}  // namespace
}  // namespace ropekv::cli
