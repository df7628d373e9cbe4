// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "frontends/cli/errors.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

// The next `count` bytes.
std::string Next(InputFile* file, size_t count) {
  std::string bytes(count, '\0');
  bytes.resize(file->ReadUpTo(std::as_writable_bytes(std::span(bytes))));
  return bytes;
}

TEST(InputFile, SaysWhenItShrinks) {
  const Scratch scratch;
  WriteWhole(scratch / "in", "0123456789");
  InputFile file(scratch / "in");
  EXPECT_EQ(file.size(), 10);
  std::filesystem::resize_file(scratch / "in", 4);
  std::vector<std::byte> bytes(10);
  EXPECT_THROW(file.Read(bytes), InputError);
}

TEST(InputFile, ReadsAndSkips) {
  const Scratch scratch;
  WriteWhole(scratch / "in", "0123456789");
  InputFile file(scratch / "in");
  EXPECT_EQ(Next(&file, 3), "012");
  file.Skip(4);
  EXPECT_EQ(Next(&file, 5), "789");
  EXPECT_EQ(Next(&file, 5), "");
}

TEST(InputFile, ReadsAndSkipsInAPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string name = "/dev/fd/" + std::to_string(ends[0]);
  InputFile file(name);
  const std::string bytes = std::string(40000, 'x') + "the end";
  ASSERT_EQ(write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  close(ends[1]);
  EXPECT_EQ(file.path(), name);
  EXPECT_EQ(file.size(), std::nullopt);
  EXPECT_EQ(Next(&file, 2), "xx");
  file.Skip(39998);
  EXPECT_EQ(Next(&file, 100), "the end");
  EXPECT_THROW(file.Skip(1), InputError);
  close(ends[0]);
}

// Another program may have read from it before.
TEST(InputFile, GoesOnWhereADescriptorIs) {
  const Scratch scratch;
  WriteWhole(scratch / "in", "0123456789");
  const Descriptor opened(open((scratch / "in").c_str(), O_RDONLY));
  lseek(opened.number(), 6, SEEK_SET);
  InputFile file("/dev/fd/" + std::to_string(opened.number()));
  EXPECT_EQ(file.size(), 4);
  EXPECT_EQ(Next(&file, 100), "6789");
}

TEST(AreOneFile, LooksBehindNames) {
  const Scratch scratch;
  WriteWhole(scratch / "a", "");
  WriteWhole(scratch / "b", "");
  std::filesystem::create_symlink("a", scratch / "link");
  std::filesystem::create_hard_link(scratch / "a", scratch / "twin");
  const Descriptor a(open((scratch / "a").c_str(), O_RDWR));
  for (const std::string& name : {scratch / "a", scratch / "link", scratch / "twin",
                                  "/dev/fd/" + std::to_string(a.number())}) {
    EXPECT_TRUE(AreOneFile(name, scratch / "a")) << name;
    EXPECT_TRUE(AreOneFile(scratch / "a", name)) << name;
    EXPECT_FALSE(AreOneFile(name, scratch / "b")) << name;
  }
  EXPECT_FALSE(AreOneFile(scratch / "none", scratch / "none"));
  EXPECT_FALSE(AreOneFile("/dev/null", "/dev/null"));
}

TEST(Escape, KeepsMessagesOnOneLine) {
  EXPECT_EQ(Escape("a\nb\x7F\033"), "a\\x0ab\\x7f\\x1b");
  EXPECT_EQ(Quote(std::string(100, 'x')), "'" + std::string(80, 'x') + "...'");
}

}  // namespace
}  // namespace ropekv::cli
