// SPDX-License-Identifier: Apache-2.0
// Pipes, descriptors that are closed, and files that already are the command's stdin and stdout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/command.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

using testing::HasSubstr;

class StreamsTest : public testing::Test {
 protected:
  StreamsTest() {
    EXPECT_EQ(Shell("ropekv gen --model llama-3-70b-tp8 --x int32 -o case"), 0);
    EXPECT_EQ(Shell("ropekv run case -o result"), 0);
  }

  // Runs a line in the folder, with the binary as `ropekv`. Its stdout and stderr are in the files
  // out and err there, but for what `line` redirects.
  int Shell(const std::string& line) {
    WriteWhole(scratch_ / "line",
               "cd '" + scratch_.path() + "'\nropekv() { '" ROPEKV_BINARY "' \"$@\"; }\n" + line);
    const std::string output = " >'" + scratch_ / "out' 2>'" + scratch_ / "err'";
    const int status = std::system(("bash '" + scratch_ / "line'" + output).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string Read(const std::string& name) const { return ReadWhole(scratch_ / name); }
  bool Exists(const std::string& name) const { return scratch_.Files().count(name) > 0; }

  Scratch scratch_;
};

constexpr char kGen[] = "ropekv gen --model llama-3-70b-tp8 --x int32 ";

TEST_F(StreamsTest, ClosedDescriptorsTakeNoData) {
  const std::string expected_case = Read("case"), expected_result = Read("result");
  for (const char* closed : {"<&-", "2>&-", "<&- 2>&-"}) {
    EXPECT_EQ(Shell(std::string(kGen) + "-o g " + closed), 0) << closed;
    EXPECT_EQ(Read("g"), expected_case) << closed;
    EXPECT_EQ(Shell(std::string("ropekv run case -o r ") + closed), 0) << closed;
    EXPECT_EQ(Read("r"), expected_result) << closed;
    EXPECT_EQ(Shell(std::string("ropekv verify case --expect r ") + closed), 0) << closed;
    EXPECT_EQ(Shell(std::string("ropekv info ") + closed), 0) << closed;
    EXPECT_EQ(Read("case"), expected_case) << closed;
    EXPECT_EQ(Read("r"), expected_result) << closed;
  }
}

// As to a full disk: a report that nobody hears is an error, and there is no file.
TEST_F(StreamsTest, AClosedStdoutIsAnError) {
  const std::string expected_case = Read("case"), expected_result = Read("result");
  for (const std::string& command :
       {std::string(kGen) + "-o g", std::string("ropekv run case -o g"),
        std::string("ropekv verify case"), std::string("ropekv verify case --expect result"),
        std::string("ropekv info"), std::string("ropekv --help"),
        std::string("ropekv bench --tokens 1 --x bf16 --threads 1 --runs 1"),
        std::string("ropekv run case -o -")}) {
    for (const char* closed : {">&-", "<&- >&-"}) {
      EXPECT_EQ(Shell(command + " " + closed), 2) << command;
      EXPECT_EQ(Read("err"), "ropekv: stdout: Bad file descriptor\n") << command;
    }
    EXPECT_EQ(Shell(command + " <&- >&- 2>&-"), 2) << command;
    EXPECT_FALSE(Exists("g")) << command;
  }
  EXPECT_EQ(Read("case"), expected_case);
  EXPECT_EQ(Read("result"), expected_result);
}

TEST_F(StreamsTest, PeersRunWithoutStandardDescriptors) {
  ASSERT_EQ(Shell("ropekv bench --model llama-3-70b-tp8 --tokens 1 --x bf16 --threads 1 --runs 1 "
                  "--peer numpy --python '" ROPEKV_SYSTEM_PYTHON "' --json <&- 2>&-"),
            0);
  EXPECT_THAT(Read("out"), HasSubstr("\"mismatches\":0"));
}

TEST_F(StreamsTest, WritesToStdout) {
  for (const char* name : {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}) {
    EXPECT_EQ(Shell(std::string(kGen) + "-o " + name + " | cat > piped"), 0) << name;
    EXPECT_EQ(Read("piped"), Read("case")) << name;
    EXPECT_THAT(Read("err"), HasSubstr("wrote ")) << name;
    EXPECT_EQ(Shell(std::string("ropekv run case -o ") + name + " | cat > piped"), 0) << name;
    EXPECT_EQ(Read("piped"), Read("result")) << name;
    EXPECT_EQ(Shell(std::string("ropekv run case -o ") + name + " > file"), 0) << name;
    EXPECT_EQ(Read("file"), Read("result")) << name;
  }
}

TEST_F(StreamsTest, NeverTruncatesWhatIsAppendedTo) {
  for (const char* command :
       {"ropekv run case -o - >> log", "ropekv run case -o /dev/stdout >> log",
        "ropekv run case -o /dev/fd/3 3>> log", "ropekv run case -o link >> log"}) {
    WriteWhole(scratch_ / "log", "old");
    EXPECT_EQ(Shell(std::string("ln -sf /dev/stdout link; ") + command), 0) << command;
    EXPECT_EQ(Read("log"), "old" + Read("result")) << command;
  }
}

}  // namespace
}  // namespace ropekv::cli
