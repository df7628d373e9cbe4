// SPDX-License-Identifier: Apache-2.0
// Children made by fork: each call gives an error with a message, and none hangs, whatever the
// parent's threads are doing.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "aclnn/every_function.h"
#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

// The address sanitizer's allocator may stay locked in a child, if another thread was in it.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAllocatorSurvivesFork = false;
#elif defined(__has_feature)
constexpr bool kAllocatorSurvivesFork = !__has_feature(address_sanitizer);
#else
constexpr bool kAllocatorSurvivesFork = true;
#endif

// Those that cannot fail.
const std::set<std::string> kCannotFail = {
    "InitHugeMemThreadLocal", "ReleaseHugeMem",    "UnInitHugeMemThreadLocal", "aclAppLog",
    "aclDataTypeSize",        "aclFloat16ToFloat", "aclFloatToFloat16",        "aclGetRecentErrMsg",
    "aclrtGetSocName"};

// Calls everything. Returns the names of the functions that do not say that they are in a child.
std::string CallAll(const std::vector<std::string>& names) {
  std::string silent;
  for (const std::string& name : names) {
    if (!CallWithZeros(name)) {
      silent += name + " (not found) ";
      continue;
    }
    if (TakeMessage().find("forked") == std::string::npos) silent += name + " ";
  }
  return silent;
}

// What `body` returns in a child; it has ten seconds.
template <class Body>
std::string InChild(Body body) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);
    const std::string text = body();
    const bool written = write(ends[1], text.data(), text.size()) >= 0;
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) text += "killed by signal " + std::to_string(WTERMSIG(status));
  return text;
}

// Forks while other threads hold one lock or another nearly always.
std::string ForkInTheMiddle() {
  std::vector<std::string> names;
  for (const std::string& name : ExportedNames()) {
    if (kCannotFail.count(name) == 0) names.push_back(name);
  }
  if (names.empty()) return "no names";

  aclrtStream stream = nullptr;
  if (aclrtSetDevice(0) != 0 || aclrtCreateStream(&stream) != 0) return TakeMessage();
  Gate gate(stream);
  Case test;
  if (test.call.Prepare() != 0 || test.call.Launch(stream) != 0) return TakeMessage();
  std::atomic<bool> over{false};
  const auto fail = [&] {
    while (!over) aclrtFree(nullptr);
  };
  const auto make = [&] {
    while (!over) {
      aclrtEvent event = nullptr;
      void* memory = nullptr;
      aclrtCreateEvent(&event);
      aclrtDestroyEvent(event);
      aclrtMalloc(&memory, 1, ACL_MEM_MALLOC_HUGE_FIRST);
      aclrtFree(memory);
      MakeTensor(PagedSpec().x, nullptr);
    }
  };
  std::vector<std::thread> threads;
  if (kAllocatorSurvivesFork) {
    threads.emplace_back(fail);
    threads.emplace_back(make);
  }
  std::string found;
  for (int round = 0; round < 20 && found.empty(); ++round) {
    found = InChild([&] { return CallAll(names); });
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  // The parent goes on.
  gate.Open();
  if (aclrtSynchronizeStream(stream) != 0) found += TakeMessage();
  found += test.problem.Compare();
  if (aclrtDestroyStream(stream) != 0 || aclrtResetDevice(0) != 0) found += TakeMessage();
  return found;
}

TEST(Fork, EveryCallInTheChildIsAnError) { EXPECT_EQ(ForkInTheMiddle(), ""); }

// The next tests are in processes of their own: the first for its configuration, the other because
// nothing may have been called before.
[[noreturn]] void Exit(const std::string& complaint) {
  std::fprintf(stderr, "%s\n", complaint.c_str());
  std::exit(complaint.empty() ? 0 : 1);
}

TEST(Fork, WithMessagesPerProcess) {
  const std::string path = ::testing::TempDir() + "fork_shared.json";
  std::ofstream(path) << R"({"err_msg_mode": "1"})";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(Exit(aclInit(path.c_str()) == 0 ? ForkInTheMiddle() : TakeMessage()),
              ::testing::ExitedWithCode(0), "");
}

std::string Use() {
  aclrtStream stream = nullptr;
  if (aclrtSetDevice(0) != 0 || aclrtCreateStream(&stream) != 0) return TakeMessage();
  Case test;
  {
    const Gate gate(stream);  // so that the stream has a thread
    if (test.call.Prepare() != 0 || test.call.Launch(stream) != 0) return TakeMessage();
  }
  if (aclrtSynchronizeStream(stream) != 0) return TakeMessage();
  return test.problem.Compare();
}

TEST(Fork, FirstUseInTheChild) {
  const auto child_first = [] {
    const std::string child = InChild(Use);
    Exit(child + Use());
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(child_first(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ropekv::testing
