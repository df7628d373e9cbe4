// SPDX-License-Identifier: Apache-2.0
// Copies and sets, at once and in stream order.
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

constexpr auto kPolicy = ACL_MEM_MALLOC_HUGE_FIRST;
constexpr size_t kPage = size_t{2} << 20;

class CopyTest : public AclTest {
 protected:
  unsigned char* Malloc(size_t size) {
    void* memory = nullptr;
    EXPECT_EQ(aclrtMalloc(&memory, size, kPolicy), 0) << TakeMessage();
    return static_cast<unsigned char*>(memory);
  }
};

TEST_F(CopyTest, Copies) {
  std::vector<unsigned char> from(1000), to(1000);
  std::iota(from.begin(), from.end(), static_cast<unsigned char>(0));
  unsigned char* device = Malloc(1000);
  for (int kind = 0; kind <= 5; ++kind) {
    std::memset(device, 0, 1000);
    EXPECT_EQ(aclrtMemcpy(device, 1000, from.data(), 900, static_cast<aclrtMemcpyKind>(kind)), 0);
    EXPECT_EQ(std::memcmp(device, from.data(), 900), 0);
    EXPECT_EQ(device[900], 0);
  }
  ExpectFailure(aclrtMemcpy(device, 1000, from.data(), 8, ACL_MEMCPY_INNER_DEVICE_TO_DEVICE),
                100000);
  ExpectFailure(aclrtMemcpy(device, 1000, from.data(), 8, ACL_MEMCPY_INTER_DEVICE_TO_DEVICE),
                100000);
  ExpectFailure(aclrtMemcpy(device, 7, from.data(), 8, ACL_MEMCPY_HOST_TO_DEVICE), 107000, "7");
  ExpectFailure(aclrtMemcpy(nullptr, 8, from.data(), 8, ACL_MEMCPY_HOST_TO_DEVICE), 100000, "dst");
  ExpectFailure(aclrtMemcpy(device, 8, nullptr, 8, ACL_MEMCPY_HOST_TO_DEVICE), 100000, "src");
  EXPECT_EQ(aclrtMemcpy(nullptr, 0, nullptr, 0, ACL_MEMCPY_HOST_TO_DEVICE), 0);

  EXPECT_EQ(aclrtMemset(device, 1000, 0x1234, 500), 0);
  EXPECT_EQ(device[499], 0x34);
  EXPECT_EQ(device[500], from[500]);
  EXPECT_EQ(aclrtMemset(nullptr, 0, 0, 0), 0);
  ExpectFailure(aclrtMemset(nullptr, 8, 0, 8), 100000);
  ExpectFailure(aclrtMemset(device, 8, 0, 9), 107000);
  EXPECT_EQ(aclrtFree(device), 0);
}

TEST_F(CopyTest, AsynchronousCopiesKeepStreamOrder) {
  unsigned char* device = Malloc(kPage);
  void* pinned = nullptr;
  ASSERT_EQ(aclrtMallocHost(&pinned, kPage), 0);
  std::memset(pinned, 0x77, kPage);
  for (const size_t size : {size_t{100}, kPage}) {  // in the caller if idle; in the stream's thread
    ASSERT_EQ(aclrtMemset(device, kPage, 0, kPage), 0);
    Gate gate(stream_);
    ASSERT_EQ(aclrtMemsetAsync(device, kPage, 0x01, size, stream_), 0);
    ASSERT_EQ(aclrtMemcpyAsync(device, kPage, pinned, size / 2, ACL_MEMCPY_HOST_TO_DEVICE, stream_),
              0);
    EXPECT_EQ(device[0], 0) << "not before its turn";
    gate.Open();
    ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
    EXPECT_EQ(device[0], 0x77);
    EXPECT_EQ(device[size - 1], 0x01);
  }
  // From pageable memory, the call returns after the copy.
  std::vector<unsigned char> pageable(1000, 0x42);
  {
    Gate gate(stream_);
    std::thread opener([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      gate.Open();
    });
    ASSERT_EQ(
        aclrtMemcpyAsync(device, 1000, pageable.data(), 1000, ACL_MEMCPY_HOST_TO_DEVICE, stream_),
        0);
    EXPECT_EQ(device[999], 0x42);
    opener.join();
  }
  const auto h2d = ACL_MEMCPY_HOST_TO_DEVICE;
  EXPECT_EQ(aclrtMemcpyAsync(nullptr, 0, nullptr, 0, h2d, stream_), 0);
  ExpectFailure(aclrtMemcpyAsync(nullptr, 8, pinned, 8, h2d, stream_), 100000);
  ExpectFailure(aclrtMemcpyAsync(device, 7, pinned, 8, h2d, stream_), 107000);
  ExpectFailure(aclrtMemcpyAsync(device, 8, pinned, 8, ACL_MEMCPY_HOST_TO_HOST, stream_), 207000);
  ExpectFailure(aclrtMemcpyAsync(device, 8, pinned, 8, ACL_MEMCPY_INTER_DEVICE_TO_DEVICE, stream_),
                100000);
  ExpectFailure(aclrtMemcpyAsync(device, 8, pinned, 8, h2d, pinned), 107017);
  EXPECT_EQ(aclrtMemsetAsync(nullptr, 0, 0, 0, stream_), 0);
  ExpectFailure(aclrtMemsetAsync(nullptr, 8, 0, 8, stream_), 100000);
  ExpectFailure(aclrtMemsetAsync(device, 8, 0, 9, stream_), 107000);
  ExpectFailure(aclrtMemsetAsync(device, 8, 0, 8, pinned), 107017);
  EXPECT_EQ(aclrtFreeHost(pinned), 0);
  EXPECT_EQ(aclrtFree(device), 0);
}

TEST_F(CopyTest, TwoDimensionalCopies) {
  std::vector<unsigned char> from(100);
  std::iota(from.begin(), from.end(), static_cast<unsigned char>(0));
  unsigned char* device = Malloc(100);
  const auto h2d = ACL_MEMCPY_HOST_TO_DEVICE;
  std::memset(device, 0xFF, 100);
  ASSERT_EQ(aclrtMemcpy2d(device, 8, from.data(), 10, 6, 3, h2d), 0);
  EXPECT_EQ(device[8 + 5], 15);
  EXPECT_EQ(device[8 + 6], 0xFF);
  EXPECT_EQ(device[24], 0xFF);
  ASSERT_EQ(aclrtMemcpy2dAsync(device, 10, from.data(), 10, 10, 10, h2d, stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(std::memcmp(device, from.data(), 100), 0);
  EXPECT_EQ(aclrtMemcpy2dAsync(device, 10, device, 10, 0, 10, ACL_MEMCPY_DEVICE_TO_DEVICE, stream_),
            0);
  EXPECT_EQ(aclrtMemcpy2dAsync(device, 10, device, 10, 5, 0, ACL_MEMCPY_DEFAULT, stream_), 0);
  EXPECT_EQ(aclrtMemcpy2d(device, 10, from.data(), 10, 0, 0, ACL_MEMCPY_DEVICE_TO_HOST), 0);
  ExpectFailure(aclrtMemcpy2d(device, 10, from.data(), 10, 11, 1, h2d), 100000, "width");
  ExpectFailure(aclrtMemcpy2d(device, 10, from.data(), 5, 6, 1, h2d), 100000, "width");
  ExpectFailure(aclrtMemcpy2d(nullptr, 10, from.data(), 10, 1, 1, h2d), 100000, "dst");
  ExpectFailure(aclrtMemcpy2d(device, 10, device, 10, 1, 1, ACL_MEMCPY_DEVICE_TO_DEVICE), 100000,
                "kind");
  ExpectFailure(aclrtMemcpy2dAsync(device, 10, nullptr, 10, 1, 1, h2d, stream_), 100000, "src");
  ExpectFailure(aclrtMemcpy2dAsync(device, 10, device, 10, 1, 1, ACL_MEMCPY_HOST_TO_HOST, stream_),
                100000);
  ExpectFailure(aclrtMemcpy2dAsync(device, 10, from.data(), 10, 1, 1, h2d, device), 107017);
  EXPECT_EQ(aclrtFree(device), 0);
}

}  // namespace
}  // namespace ropekv::testing
