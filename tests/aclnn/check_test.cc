// SPDX-License-Identifier: Apache-2.0
// ROPEKV_CHECK=1, which CMakeLists.txt sets: each mistake gives its line on stderr, and a correct
// program none.
#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

using enum TensorId;

// A call on device memory that exactly fits.
class CheckTest : public AclTest {
 protected:
  void SetUp() override {
    AclTest::SetUp();
    for (const TensorField& field : kTensorFields) {
      const TensorSpec& tensor = spec_.*field.spec;
      if (!tensor.present()) continue;
      int64_t bytes = ElementBytes(tensor.dtype);
      for (int i = 0; i < tensor.rank; ++i) bytes *= tensor.shape[i];
      const auto size = static_cast<size_t>(bytes);
      void* memory = nullptr;
      ASSERT_EQ(aclrtMalloc(&memory, size, ACL_MEM_MALLOC_HUGE_FIRST), 0);
      std::memset(memory, 0, size);
      memory_[static_cast<size_t>(field.id)] = memory;
      if (field.input) {
        args_.*field.input = memory;
      } else {
        args_.*field.output = memory;
      }
    }
    const int32_t slots[] = {0, 1, 2, 3};
    std::memcpy(Memory(kIndices), slots, sizeof slots);
  }
  void TearDown() override {
    for (void* memory : memory_) {
      EXPECT_EQ(memory ? aclrtFree(memory) : 0, 0);
    }
    AclTest::TearDown();
  }

  void*& Memory(TensorId id) { return memory_[static_cast<size_t>(id)]; }

  // What is reported while `body` runs, and how many lines.
  template <class Body>
  std::string Report(int lines, Body body) {
    ::testing::internal::CaptureStderr();
    body();
    const std::string report = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(report.begin(), report.end(), '\n'), lines) << report;
    EXPECT_EQ(report.find("ropekv-check: "), lines ? 0 : std::string::npos) << report;
    return report;
  }

  const Spec spec_ = PagedSpec();
  std::array<void*, kNumTensors> memory_{};
  Args args_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(CheckTest, CorrectProgramGivesNothing) {
  AclCall call(spec_, args_);
  Report(0, [&] { EXPECT_EQ(call.Run(stream_), 0); });
  void* extra = nullptr;
  ASSERT_EQ(aclrtMalloc(&extra, 16, ACL_MEM_MALLOC_HUGE_FIRST), 0);
  Report(0, [&] { EXPECT_EQ(aclrtFree(extra), 0); });
}

TEST_F(CheckTest, BeyondTheEnd) {
  args_.x = static_cast<const char*>(args_.x) + 64;
  AclCall call(spec_, args_);
  const std::string report = Report(1, [&] { EXPECT_EQ(call.Run(stream_), 0); });
  EXPECT_HAS(report, "aclnnDequantRopeQuantKvcache: x: 2048 bytes");
  EXPECT_HAS(report, "64 bytes past the end of their block of 2048 bytes");
}

TEST_F(CheckTest, HostPointers) {
  std::vector<float> scale(64);
  void* pinned = nullptr;
  ASSERT_EQ(aclrtMallocHost(&pinned, 64 * 4), 0);
  std::memset(pinned, 0, 64 * 4);
  args_.scale_k = scale.data();
  args_.scale_v = static_cast<const float*>(pinned);
  AclCall call(spec_, args_);
  const std::string report = Report(2, [&] { EXPECT_EQ(call.Run(stream_), 0); });
  EXPECT_HAS(report, "scaleK");
  EXPECT_HAS(report, "a host pointer?");
  EXPECT_HAS(report, "scaleV");
  EXPECT_HAS(report, "aclrtMallocHost memory");
  EXPECT_EQ(aclrtFreeHost(pinned), 0);
}

TEST_F(CheckTest, UseAfterFree) {
  EXPECT_EQ(aclrtFree(Memory(kCos)), 0);
  Memory(kCos) = nullptr;
  AclCall call(spec_, args_);
  const std::string report = Report(1, [&] { EXPECT_EQ(call.Run(stream_), 0); });
  EXPECT_HAS(report, "cos: 256 bytes");
  EXPECT_HAS(report, "freed");
}

TEST_F(CheckTest, FreeInUse) {
  AclCall call(spec_, args_);
  Gate gate(stream_);
  ASSERT_EQ(call.Prepare(), 0);
  ASSERT_EQ(call.Launch(stream_), 0);
  const std::string report = Report(1, [&] { EXPECT_EQ(aclrtFree(Memory(kSin)), 0); });
  Memory(kSin) = nullptr;
  EXPECT_HAS(report, "freed while a queued aclnnDequantRopeQuantKvcache uses it as sin");
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
}

// Copies and sets, too.
TEST_F(CheckTest, Transfers) {
  const auto h2d = ACL_MEMCPY_HOST_TO_DEVICE;
  void* sin = Memory(kSin);  // of 256 bytes
  std::vector<char> host(512);
  Report(0, [&] {
    EXPECT_EQ(aclrtMemcpy(sin, 256, host.data(), 256, h2d), 0);
    EXPECT_EQ(aclrtMemcpyAsync(sin, 256, host.data(), 256, h2d, stream_), 0);
    EXPECT_EQ(aclrtMemset(sin, 256, 0, 256), 0);
    EXPECT_EQ(aclrtMemsetAsync(sin, 256, 0, 256, stream_), 0);
    EXPECT_EQ(aclrtMemcpy2d(sin, 128, host.data(), 128, 100, 2, h2d), 0);
    EXPECT_EQ(aclrtMemcpy2dAsync(sin, 128, host.data(), 128, 100, 0, h2d, stream_), 0);
  });
  const std::pair<const char*, std::function<int()>> wrong[] = {
      {"aclrtMemcpy: dst: 300 bytes", [&] { return aclrtMemcpy(sin, 300, host.data(), 300, h2d); }},
      {"aclrtMemcpy: src: 300 bytes",
       [&] { return aclrtMemcpy(host.data(), 300, sin, 300, ACL_MEMCPY_DEVICE_TO_HOST); }},
      {"aclrtMemcpyAsync: dst: 300 bytes",
       [&] { return aclrtMemcpyAsync(sin, 300, host.data(), 300, h2d, stream_); }},
      {"aclrtMemset: devPtr: 300 bytes", [&] { return aclrtMemset(sin, 300, 0, 300); }},
      {"aclrtMemsetAsync: devPtr: 300 bytes",
       [&] { return aclrtMemsetAsync(sin, 300, 0, 300, stream_); }},
      {"aclrtMemcpy2d: dst: 300 bytes",
       [&] { return aclrtMemcpy2d(sin, 200, host.data(), 100, 100, 2, h2d); }},
      {"aclrtMemcpy2dAsync: dst: 300 bytes",
       [&] { return aclrtMemcpy2dAsync(sin, 200, host.data(), 100, 100, 2, h2d, stream_); }}};
  for (const auto& mistake : wrong) {
    const std::string report = Report(1, [&] { EXPECT_EQ(mistake.second(), 0); });
    EXPECT_HAS(report, mistake.first);
    EXPECT_HAS(report, "end 44 bytes past the end of their block of 256 bytes");
  }
  Gate gate(stream_);
  ASSERT_EQ(aclrtMemsetAsync(sin, 256, 1, 256, stream_), 0);
  std::string report = Report(1, [&] { EXPECT_EQ(aclrtFree(sin), 0); });
  Memory(kSin) = nullptr;
  EXPECT_HAS(report, "freed while a queued aclrtMemsetAsync uses it as devPtr");
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
  report = Report(1, [&] { EXPECT_EQ(aclrtMemset(sin, 256, 0, 256), 0); });
  EXPECT_HAS(report, "devPtr: 256 bytes");
  EXPECT_HAS(report, "freed");
}

TEST_F(CheckTest, Leaks) {
  for (void*& memory : memory_) {
    if (memory && memory != Memory(kX)) {
      ASSERT_EQ(aclrtFree(memory), 0);
      memory = nullptr;
    }
  }
  aclrtEvent event = nullptr;
  ASSERT_EQ(aclrtCreateEvent(&event), 0);
  aclrtContext before = nullptr, context = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&before), 0);
  ASSERT_EQ(aclrtCreateContext(&context, 0), 0);
  ASSERT_EQ(aclrtSetCurrentContext(before), 0);
  AclCall call(spec_, args_);
  ASSERT_EQ(call.Prepare(), 0);
  ASSERT_EQ(aclInit(nullptr), 0);
  const std::string report = Report(6, [&] { EXPECT_EQ(aclFinalize(), 0); });
  EXPECT_HAS(report, "leak: 2048 bytes of device memory");
  EXPECT_HAS(report, "leak: 1 events");
  EXPECT_HAS(report, "leak: 1 streams");
  EXPECT_HAS(report, "leak: 1 contexts");
  EXPECT_HAS(report, "leak: 1 executors");
  EXPECT_HAS(report, "leak: 12 descriptors");  // the call's eleven tensors and sizeSplits
  EXPECT_EQ(aclrtDestroyContext(context), 0);
  EXPECT_EQ(aclSetAclOpExecutorRepeatable(call.executor), 0);
  EXPECT_EQ(aclDestroyAclOpExecutor(call.executor), 0);
  EXPECT_EQ(aclrtDestroyEvent(event), 0);
}

}  // namespace
}  // namespace ropekv::testing
