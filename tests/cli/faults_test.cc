// SPDX-License-Identifier: Apache-2.0
// Whatever fails while the command runs, an allocation, a read, a write, it says so in one line and
// leaves files as they were; or it has done all of its work.
#include "tests/cli/faults.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "support/failing_new.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

using ropekv::testing::FailAllocation;
#ifdef ROPEKV_SANITIZED
constexpr int64_t kStep = 23;
#else
constexpr int64_t kStep = 1;
#endif

using Words = std::vector<std::string>;

class FaultsTest : public ::testing::Test {
 protected:
  FaultsTest() {
    Expect(0, {"gen", "--model", "llama-3-70b-tp8", "--x", "i32", "-o", Path("case")});
    Expect(0, {"run", Path("case"), "-o", Path("result")});
  }

  std::string Path(const std::string& name) const { return scratch_ / name; }
  void Expect(int code, const Words& arguments) {
    const FaultOutcome outcome = RunInChild(arguments, [] {});
    ASSERT_EQ(outcome.exit_code, code) << outcome.err;
  }

  // The command that makes `out`, which may be there before.
  struct Making {
    Words arguments;
    std::string like;  // the file that it makes
    std::string before;
  };
  std::vector<Making> Makings() const {
    return {{{"gen", "--model", "llama-3-70b-tp8", "--x", "i32", "-o", Path("out")}, "case", ""},
            {{"run", Path("case"), "-o", Path("out")}, "result", ""},
            {{"run", Path("case"), "-o", Path("out")}, "result", "what was there"}};
  }
  void Begin(const Making& making) {
    std::filesystem::remove(Path("out"));
    if (!making.before.empty()) WriteWhole(Path("out"), making.before);
  }
  // Either all is done or nothing, and nothing else is left in the folder.
  void Check(const Making& making, const FaultOutcome& outcome) {
    CheckRefusal(outcome);
    const bool is_there = std::filesystem::exists(Path("out"));
    const std::string found = is_there ? ReadWhole(Path("out")) : "";
    EXPECT_EQ(found == ReadWhole(Path(making.like)), outcome.exit_code == 0);
    if (outcome.exit_code != 0) {
      EXPECT_EQ(found, making.before);
      EXPECT_EQ(is_there, !making.before.empty());
    }
    EXPECT_EQ(scratch_.Files().size(), is_there ? 3u : 2u);
  }
  static void CheckRefusal(const FaultOutcome& outcome) {
    EXPECT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 2)
        << outcome.exit_code << " " << outcome.err;
    if (outcome.exit_code == 0) return;
    EXPECT_EQ(outcome.err.find("ropekv: "), 0u) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }

  // Fails the first, the second ... until none is reached; returns how many there were. Children
  // are slow to make where there is a sanitizer: there it is one in kStep.
  template <class Fail, class Check>
  int64_t Each(const Words& arguments, Fail fail, Check check, int64_t step = kStep) {
    for (int64_t n = 1;; n += step) {
      SCOPED_TRACE(::testing::Message() << arguments[0] << ", failure " << n);
      const FaultOutcome outcome = RunInChild(arguments, [&] { fail(n); });
      check(outcome);
      if (::testing::Test::HasFailure() || !outcome.failed) return n - step;
    }
  }

  Scratch scratch_;
};

TEST_F(FaultsTest, EachAllocation) {
  for (const Making& making : Makings()) {
    Begin(making);
    const auto check = [&](const FaultOutcome& outcome) {
      Check(making, outcome);
      Begin(making);
    };
    EXPECT_GT(Each(making.arguments, FailAllocation, check), 100);
  }
}

TEST_F(FaultsTest, EachAllocationOfReports) {
  for (const Words& arguments :
       {Words{"info"}, Words{"verify", Path("case")},
        Words{"verify", Path("case"), "--expect", Path("result"), "--json"}}) {
    EXPECT_GT(Each(arguments, FailAllocation, CheckRefusal), 100);
  }
}

// It measures in most of its runs, so that only one allocation in so many fails.
TEST_F(FaultsTest, AllocationsOfBench) {
  const Words arguments = {"bench", "--tokens=1", "--model=llama-3-70b-tp8", "--threads=1",
                           "--runs=1"};
  EXPECT_GT(Each(arguments, FailAllocation, CheckRefusal, 31), 100);
}

TEST_F(FaultsTest, EachSystemCall) {
  for (const Making& making : Makings()) {
    for (const SystemCall call : kSystemCalls) {
      Begin(making);
      const auto check = [&](const FaultOutcome& outcome) {
        Check(making, outcome);
        // A place that cannot be had beside a file is not needed: it is overwritten where it is.
        const bool may_do_without = call == SystemCall::kOpen || call == SystemCall::kRename;
        if (outcome.failed && (making.before.empty() || !may_do_without)) {
          EXPECT_EQ(outcome.exit_code, 2);
          EXPECT_NE(outcome.err.find(scratch_.path()), std::string::npos) << outcome.err;
        }
        Begin(making);
      };
      const int error = call == SystemCall::kWrite ? ENOSPC : EIO;
      const int64_t calls = Each(
          making.arguments, [&](int64_t n) { FailSystemCall(call, n, error); }, check, 1);
      const bool reads = making.arguments[0] == "run";
      const bool is_of_reading =
          call == SystemCall::kRead || call == SystemCall::kSeek || call == SystemCall::kStatus;
      EXPECT_EQ(calls > 0, reads || !is_of_reading) << static_cast<int>(call);
    }
  }
}

TEST_F(FaultsTest, EachSystemCallOfVerify) {
  const Words arguments = {"verify", Path("case"), "--expect", Path("result")};
  const auto check = [&](const FaultOutcome& outcome) {
    CheckRefusal(outcome);
    EXPECT_EQ(outcome.exit_code, outcome.failed ? 2 : 0);
    if (outcome.failed) {
      EXPECT_NE(outcome.err.find(scratch_.path()), std::string::npos) << outcome.err;
    }
  };
  for (const SystemCall call : {SystemCall::kOpen, SystemCall::kRead, SystemCall::kStatus}) {
    const int64_t calls = Each(
        arguments, [&](int64_t n) { FailSystemCall(call, n, EIO); }, check, 1);
    EXPECT_GE(calls, 2) << "of both files: " << static_cast<int>(call);
  }
}

// A disk that is full, and a limit of file sizes.
TEST_F(FaultsTest, FilesThatMayNotGrow) {
  for (const Making& making : Makings()) {
    for (const rlim_t limit : {0, 1, 4096, 5000}) {
      Begin(making);
      const FaultOutcome outcome = RunInChild(making.arguments, [&] {
        const rlimit size = {limit, limit};
        setrlimit(RLIMIT_FSIZE, &size);
      });
      EXPECT_NE(outcome.exit_code, 0);
      if (limit > 1) Check(making, outcome);  // else stderr, a file here, may not grow either
    }
  }
  for (const Words& arguments :
       {Words{"info"}, Words{"--help"}, Words{"verify", Path("case")},
        Words{"run", Path("case"), "-o", "-"}, Words{"run", Path("case"), "-o", Path("out")}}) {
    const FaultOutcome outcome = RunInChild(
        arguments, [] {}, "/dev/full");
    EXPECT_EQ(outcome.exit_code, 2) << arguments[0];
    EXPECT_EQ(outcome.err, "ropekv: stdout: No space left on device\n");
  }
}

TEST_F(FaultsTest, InterruptedAndShortReadsAndWrites) {
  for (const Making& making : Makings()) {
    Begin(making);
    const FaultOutcome outcome = RunInChild(making.arguments, MoveFewBytes);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    Check(making, outcome);
  }
}

}  // namespace
}  // namespace ropekv::cli
