// SPDX-License-Identifier: Apache-2.0
// How many threads there are: control groups, of which no test can make one, as files of a folder.
#include "run/threads.h"

#include <gtest/gtest.h>
#include <oneapi/tbb/info.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "ropekv/ropekv.h"

namespace ropekv::testing {
namespace {

namespace fs = std::filesystem;

class QuotaTest : public ::testing::Test {
 protected:
  ~QuotaTest() override { fs::remove_all(root_); }

  void Write(const std::string& name, const std::string& text) const {
    const fs::path path = root_ + name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  int64_t Quota() const { return internal::ProcessorQuota(root_.c_str()); }

  const std::string root_ =
      (fs::temp_directory_path() / ("ropekv-quota-" + std::to_string(::getpid()))).string();
};

TEST_F(QuotaTest, NothingIsKnown) {
  EXPECT_EQ(Quota(), 0);
  for (const char* text : {"", "\n", ":", "::\n", "0::/a", "no colon", "0::"}) {
    Write("/proc/self/cgroup", text);
    EXPECT_EQ(Quota(), 0) << text;
  }
}

TEST_F(QuotaTest, SecondVersion) {
  Write("/proc/self/cgroup", "0::/\n");
  const struct {
    const char* text;
    int64_t quota;
  } kFiles[] = {{"max 100000\n", 0},
                {"200000 100000\n", 2},
                {"100000 100000", 1},
                {"100001 100000\n", 2},
                {"1000 100000\n", 1},
                {"150000 50000\n", 3},
                {"0 100000\n", 0},
                {"100000\n", 0},
                {"x y\n", 0},
                {"-100000 100000\n", 0},
                {"9223372036854775807 1\n", INT64_MAX}};
  for (const auto& [text, quota] : kFiles) {
    Write("/sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(Quota(), quota) << text;
  }
}

// The least of all groups that the process is in, which is not always that of the innermost.
TEST_F(QuotaTest, GroupsWithinGroups) {
  Write("/proc/self/cgroup", "0::/outer/middle/inner\n");
  Write("/sys/fs/cgroup/outer/middle/inner/cpu.max", "400000 100000\n");
  EXPECT_EQ(Quota(), 4);
  Write("/sys/fs/cgroup/outer/middle/cpu.max", "max 100000\n");
  EXPECT_EQ(Quota(), 4);
  Write("/sys/fs/cgroup/outer/cpu.max", "300000 100000\n");
  EXPECT_EQ(Quota(), 3);
  Write("/sys/fs/cgroup/cpu.max", "500000 100000\n");
  EXPECT_EQ(Quota(), 3);
  Write("/sys/fs/cgroup/out/cpu.max", "100000 100000\n");  // another group
  EXPECT_EQ(Quota(), 3);
}

TEST_F(QuotaTest, FirstVersion) {
  Write("/proc/self/cgroup", "12:pids:/p\n4:cpu,cpuacct:/box\n3:cpuset:/box\n0::/\n");
  EXPECT_EQ(Quota(), 0);
  Write("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "250000\n");
  Write("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota(), 3);
  Write("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(Quota(), 0);
  // The path is the host's, and only the container's own group is mounted.
  Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota(), 1);
  Write("/proc/self/cgroup", "12:cpuset:/p\n");  // not that of "cpu"
  EXPECT_EQ(Quota(), 0);
}

// As a container of the first version has it: the controller of processors behind eleven others,
// and long names.
TEST_F(QuotaTest, BehindLongLines) {
  const std::string group = "/kubepods/burstable/" + std::string(180, 'p');
  std::string lines;
  for (int i = 12; i > 1; --i) lines += std::to_string(i) + ":other:" + group + "\n";
  Write("/proc/self/cgroup", lines + "1:cpu,cpuacct:" + group + "\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota(), 2);
}

// Affinity is oneTBB's to see.
TEST_F(QuotaTest, OfTheThreadsThatThereAre) {
  const int all = oneapi::tbb::info::default_concurrency();
  Write("/proc/self/cgroup", "0::/\n");
  EXPECT_EQ(internal::CountThreads(root_.c_str()), all);
  Write("/sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(internal::CountThreads(root_.c_str()), 1);
  Write("/sys/fs/cgroup/cpu.max", "9223372036854775807 1\n");
  EXPECT_EQ(internal::CountThreads(root_.c_str()), all);
  EXPECT_EQ(internal::CountThreads(""), MaxThreads());
}

TEST(ChooseThreads, AsManyAsAreAllowedAndWorthIt) {
  using internal::ChooseThreads;
  constexpr int64_t kLong = int64_t{1} << 20;
  EXPECT_EQ(ChooseThreads(kLong, kLong, 0), MaxThreads());
  EXPECT_EQ(ChooseThreads(kLong, 1, 0), std::min(8, MaxThreads()));  // of 128 KiB each
  EXPECT_EQ(ChooseThreads(2, kLong, 0), std::min(2, MaxThreads()));
  EXPECT_EQ(ChooseThreads(255, 1024, 0), 1);
  EXPECT_EQ(ChooseThreads(256, 1024, 0), std::min(2, MaxThreads()));
  // A caller who names a number has it.
  EXPECT_EQ(ChooseThreads(10, 1, 7), 7);
  EXPECT_EQ(ChooseThreads(kLong, 1, 1000), 1000);
  EXPECT_EQ(ChooseThreads(3, kLong, 1000), 3);
  EXPECT_EQ(ChooseThreads(0, kLong, 1000), 1);
}

}  // namespace
}  // namespace ropekv::testing
