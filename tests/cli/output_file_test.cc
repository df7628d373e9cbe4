// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>

#include "frontends/cli/errors.h"
#include "frontends/cli/file.h"
#include "frontends/cli/safetensors.h"
#include "tests/cli/scratch.h"

namespace {
int g_rename_error = 0;
}  // namespace

// In place of the C library's, to fail as for a file that is bound into a container by itself.
extern "C" int rename(const char* from, const char* to) {
  errno = g_rename_error;
  return g_rename_error != 0 ? -1 : renameat(AT_FDCWD, from, AT_FDCWD, to);
}

namespace ropekv::cli {
namespace {

using testing::IsEmpty;

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

class FailingRename {
 public:
  FailingRename() { g_rename_error = EBUSY; }
  ~FailingRename() { g_rename_error = 0; }
};

void Replace(const std::string& path, const std::string& contents) {
  OutputFile file(path);
  file.Write({Bytes(contents)});
  file.Commit();
}

std::string RefusalOf(const std::string& path) {
  try {
    Replace(path, "new");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

// Whether `test` holds in a process that is not root's, with a folder that is its own.
bool HoldsForAnOrdinaryUser(const std::function<bool(const Scratch&)>& test) {
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) _exit(2);
    bool held = false;
    {
      const Scratch scratch;
      held = test(scratch);
      chmod(scratch.path().c_str(), 0700);
    }
    _exit(held ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

mode_t ModeOf(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return status.st_mode & 07777;
}

ino_t InodeOf(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return status.st_ino;
}

TEST(OutputFile, AppearsOnCommitAndNotBefore) {
  const Scratch scratch;
  OutputFile file(scratch / "out");
  file.Write({Bytes("wh"), Bytes(""), Bytes("ole")});
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
    file.Write({Bytes("half")});
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
      file.Write({Bytes("half")});
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
  file.Write({Bytes("new")});
  file.Commit();
  EXPECT_TRUE(std::filesystem::is_symlink(scratch / "link"));
  EXPECT_EQ(ReadWhole(scratch / "real"), "new");
}

TEST(OutputFile, RefusesWhatItCannotReplace) {
  const Scratch scratch;
  EXPECT_EQ(RefusalOf("/dev/null"), "/dev/null: exists and is not a regular file");
  EXPECT_EQ(RefusalOf(scratch.path()), scratch.path() + ": is a directory");
  EXPECT_EQ(RefusalOf(scratch / "no/out"),
            scratch / "no/out: folder " + scratch / "no: No such file or directory");
  const std::string long_name(300, 'n');
  EXPECT_EQ(RefusalOf(scratch / long_name), scratch / long_name + ": File name too long");
  ASSERT_EQ(symlink("absent", (scratch / "link").c_str()), 0);
  EXPECT_EQ(RefusalOf(scratch / "link"), scratch / "link: is a symbolic link to nothing");
  EXPECT_EQ(scratch.Files(), std::set<std::string>{"link"});
}

TEST(OutputFile, KeepsTheModeOfWhatItReplaces) {
  const Scratch scratch;
  const mode_t mask = umask(027);
  Replace(scratch / "new", "1");
  EXPECT_EQ(ModeOf(scratch / "new"), 0640u);
  for (mode_t mode : {0600u, 0666u, 0755u, 04711u}) {
    WriteWhole(scratch / "old", "old");
    ASSERT_EQ(chmod((scratch / "old").c_str(), mode), 0);
    Replace(scratch / "old", "new");
    EXPECT_EQ(ModeOf(scratch / "old"), mode);
    EXPECT_EQ(ReadWhole(scratch / "old"), "new");
  }
  umask(mask);
}

TEST(OutputFile, RefusesWhatIsNotOursToWrite) {
  EXPECT_TRUE(HoldsForAnOrdinaryUser([](const Scratch& scratch) {
    WriteWhole(scratch / "out", "old");
    chmod((scratch / "out").c_str(), 0444);
    return RefusalOf(scratch / "out") == scratch / "out: Permission denied" &&
           ReadWhole(scratch / "out") == "old" && scratch.Files().size() == 1;
  }));
}

TEST(OutputFile, NamesTheFolderThatCannotBeWritten) {
  EXPECT_TRUE(HoldsForAnOrdinaryUser([](const Scratch& scratch) {
    chmod(scratch.path().c_str(), 0555);
    return RefusalOf(scratch / "out") ==
           scratch / "out: folder " + scratch.path() + ": Permission denied";
  }));
}

TEST(OutputFile, OverwritesInAFolderThatCannotBeWritten) {
  EXPECT_TRUE(HoldsForAnOrdinaryUser([](const Scratch& scratch) {
    WriteWhole(scratch / "out", "a longer old one");
    chmod(scratch.path().c_str(), 0555);
    Replace(scratch / "out", "new");
    return ReadWhole(scratch / "out") == "new";
  }));
}

TEST(OutputFile, OverwritesWhatItCannotReplace) {
  const Scratch scratch;
  for (const char* old : {"", "old", "a longer old one"}) {
    WriteWhole(scratch / "out", old);
    const ino_t inode = InodeOf(scratch / "out");
    const FailingRename failing;
    Replace(scratch / "out", "shorter");
    EXPECT_EQ(ReadWhole(scratch / "out"), "shorter");
    EXPECT_EQ(InodeOf(scratch / "out"), inode);
    EXPECT_EQ(scratch.Files(), std::set<std::string>{"out"});
  }
}

TEST(OutputFile, LeavesTheOldWhereThereIsNoRoomToOverwrite) {
  EXPECT_TRUE(HoldsForAnOrdinaryUser([](const Scratch& scratch) {
    WriteWhole(scratch / "out", "old");
    chmod(scratch.path().c_str(), 0555);
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 1000, .rlim_max = 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      Replace(scratch / "out", std::string(2000, 'n'));
    } catch (const InputError& error) {
      return error.what() == scratch / "out: File too large" && ReadWhole(scratch / "out") == "old";
    }
    return false;
  }));
}

TEST(OutputFile, WritesToADescriptorWithoutTruncating) {
  const Scratch scratch;
  WriteWhole(scratch / "log", "old ");
  const Descriptor log(open((scratch / "log").c_str(), O_WRONLY | O_APPEND));
  Replace("/dev/fd/" + std::to_string(log.number()), "new");
  EXPECT_EQ(ReadWhole(scratch / "log"), "old new");
  EXPECT_EQ(scratch.Files(), std::set<std::string>{"log"});
}

TEST(WriteSafetensors, SaysThatItWroteOnlyWhenItHas) {
  const Scratch scratch;
  testing::internal::CaptureStdout();
  WriteSafetensors(scratch / "out", {}, {}, "a report\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "a report\nwrote " + scratch / "out" + "\n");
  testing::internal::CaptureStdout();
  {
    const FailingRename failing;
    EXPECT_THROW(WriteSafetensors(scratch / "other", {}, {}, "a report\n"), InputError);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "a report\n");
  EXPECT_EQ(scratch.Files(), std::set<std::string>{"out"});
}

}  // namespace
}  // namespace ropekv::cli
