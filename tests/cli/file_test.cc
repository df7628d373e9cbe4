// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "frontends/cli/errors.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

using testing::IsEmpty;

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string RefusalOf(const std::string& path) {
  try {
    OutputFile file(path);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(OutputFile, AppearsOnCommitAndNotBefore) {
  const Scratch scratch;
  OutputFile file(scratch / "out");
  file.Write(Bytes("whole"));
  EXPECT_EQ(scratch.Files().count("out"), 0u);
  file.Commit();
  EXPECT_EQ(ReadWhole(scratch / "out"), "whole");
  EXPECT_EQ(scratch.Files(), std::set<std::string>{"out"});
}

TEST(OutputFile, LeavesNothingWithoutCommit) {
  const Scratch scratch;
  WriteWhole(scratch / "out", "old");
  {
    OutputFile file(scratch / "out");
    file.Write(Bytes("half"));
  }
  EXPECT_EQ(ReadWhole(scratch / "out"), "old");
  EXPECT_EQ(scratch.Files(), std::set<std::string>{"out"});
}

TEST(OutputFile, LeavesNothingWhenInterrupted) {
  for (int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    const Scratch scratch;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      OutputFile file(scratch / "out");
      file.Write(Bytes("half"));
      std::raise(signal_number);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
    EXPECT_THAT(scratch.Files(), IsEmpty());
  }
}

TEST(OutputFile, WritesThroughASymbolicLink) {
  const Scratch scratch;
  WriteWhole(scratch / "real", "old");
  ASSERT_EQ(symlink("real", (scratch / "link").c_str()), 0);
  OutputFile file(scratch / "link");
  file.Write(Bytes("new"));
  file.Commit();
  EXPECT_TRUE(std::filesystem::is_symlink(scratch / "link"));
  EXPECT_EQ(ReadWhole(scratch / "real"), "new");
}

TEST(OutputFile, RefusesWhatItCannotReplace) {
  const Scratch scratch;
  EXPECT_EQ(RefusalOf("/dev/null"), "/dev/null: exists and is not a regular file");
  EXPECT_EQ(RefusalOf(scratch.path()), scratch.path() + ": is a directory");
  EXPECT_EQ(RefusalOf(scratch / "no/out"), scratch / "no/out: No such file or directory");
  ASSERT_EQ(symlink("absent", (scratch / "link").c_str()), 0);
  EXPECT_EQ(RefusalOf(scratch / "link"), scratch / "link: is a symbolic link to nothing");
  EXPECT_EQ(scratch.Files(), std::set<std::string>{"link"});
}

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
