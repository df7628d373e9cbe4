// SPDX-License-Identifier: Apache-2.0
// Pipes, descriptors that are closed, and files that already are the command's stdin and stdout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tests/cli/command.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

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

TEST_F(StreamsTest, ReadsFromPipes) {
  for (const char* name : {"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"}) {
    EXPECT_EQ(Shell(std::string("cat case | ropekv run -o piped ") + name), 0) << name;
    EXPECT_EQ(Read("piped"), Read("result")) << name;
    EXPECT_EQ(Shell(std::string("ropekv run -o file < case ") + name), 0) << name;
    EXPECT_EQ(Read("file"), Read("result")) << name;
    EXPECT_EQ(Shell(std::string("cat result | ropekv verify case --expect ") + name), 0) << name;
  }
  EXPECT_EQ(Shell("cat case | ropekv verify -"), 0);
  EXPECT_EQ(Shell("ropekv run <(cat case) -o >(cat > substituted)"), 0);
  EXPECT_EQ(Shell(std::string(kGen) + "-o - | ropekv run - -o - | ropekv verify case --expect -"),
            0);
}

// What is read from a pipe is checked as what is read from a file.
TEST_F(StreamsTest, PipesAreChecked) {
  const auto refusal = [this](const std::string& source) {
    EXPECT_EQ(Shell(source + " | ropekv run - -o piped"), 2) << source;
    EXPECT_FALSE(Exists("piped")) << source;
    return Read("err");
  };
  EXPECT_EQ(refusal("true"), "ropekv: stdin: not a safetensors file: 0 bytes\n");
  EXPECT_THAT(refusal("head -c 100 case"), StartsWith("ropekv: stdin: truncated: a header of "));
  EXPECT_THAT(refusal("head -c 9000 case"), StartsWith("ropekv: stdin: truncated: "));
  EXPECT_EQ(refusal("head -c -1 case"), "ropekv: stdin: truncated: ended while being read\n");
  EXPECT_EQ(refusal("cat case case"), "ropekv: stdin: bytes at its end belong to no tensor\n");
  EXPECT_THAT(refusal("cat /dev/zero"), StartsWith("ropekv: stdin: not a safetensors file"));
  EXPECT_THAT(refusal("yes"), StartsWith("ropekv: stdin: not a safetensors file"));
  EXPECT_EQ(Shell("cat case case | ropekv verify case --expect -"), 2);
  EXPECT_EQ(Shell("cat case | ropekv verify - --expect -"), 2);
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

TEST_F(StreamsTest, ACaseIsNotOverwrittenByItsResult) {
  const std::string before = Read("case");
  for (const char* command :
       {"ropekv run - -o case < case", "ropekv run case -o - >> case",
        "ropekv run case -o /dev/stdout >> case", "ropekv run /dev/fd/3 -o case 3< case"}) {
    EXPECT_EQ(Shell(command), 2) << command;
    EXPECT_THAT(Read("err"), StartsWith("ropekv: --output: is the case itself")) << command;
    EXPECT_EQ(Read("case"), before) << command;
  }
}

// One line, whatever it is that is odd, before what the command has to say.
TEST_F(StreamsTest, ANoteIsOneLine) {
  std::string bytes = Read("case");
  const size_t metadata = bytes.find("\"quant_mode\"");
  ASSERT_NE(metadata, bytes.npos);
  bytes.replace(metadata, 12, "\"quant\\nmode\"");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  ++length;
  std::memcpy(bytes.data(), &length, 8);
  WriteWhole(scratch_ / "odd", bytes);
  for (const char* command : {"ropekv run odd -o r", "ropekv verify odd"}) {
    EXPECT_EQ(Shell(command), 0) << command;
    EXPECT_EQ(Read("err"), "ropekv: note: odd: metadata 'quant\\x0amode' is not used\n");
  }
}

}  // namespace
}  // namespace ropekv::cli
