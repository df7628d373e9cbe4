// SPDX-License-Identifier: Apache-2.0
// Devices, contexts and what programs ask about them.
#include <thread>

#include "acl/acl_rt_api.h"
#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

TEST(Device, SetAndReset) {
  int32_t device = -1;
  std::thread([&] { ExpectFailure(aclrtGetDevice(&device), 107002, "aclrtSetDevice"); }).join();
  ASSERT_EQ(aclrtSetDevice(0), 0);
  EXPECT_EQ(aclrtGetDevice(&device), 0);
  EXPECT_EQ(device, 0);
  ExpectFailure(aclrtGetDevice(nullptr), 100000);
  ExpectFailure(aclrtSetDevice(-1), 107001, "-1");
  ExpectFailure(aclrtSetDevice(1), 107001, "devices 0 to 0");
  ExpectFailure(aclrtResetDevice(7), 107001);
  ExpectFailure(aclrtResetDeviceForce(7), 107001);

  // Threads share the default context; the last reset releases it with its streams.
  aclrtContext context = nullptr, same = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&context), 0);
  std::thread([&] {
    ASSERT_EQ(aclrtSetDevice(0), 0);
    ASSERT_EQ(aclrtGetCurrentContext(&same), 0);
  }).join();
  EXPECT_EQ(same, context);
  aclrtStream stream = nullptr;
  ASSERT_EQ(aclrtCreateStream(&stream), 0);
  ExpectFailure(aclrtDestroyContext(context), 107000, "default context");
  EXPECT_EQ(aclrtResetDevice(0), 0);
  EXPECT_EQ(aclrtSynchronizeStream(stream), 0);
  EXPECT_EQ(aclrtResetDevice(0), 0);
  ExpectFailure(aclrtSynchronizeStream(stream), 107017);
  ExpectFailure(aclrtGetDevice(&device), 107002);
  ExpectFailure(aclrtSynchronizeDevice(), 107002, "aclrtSynchronizeDevice:");
  ExpectFailure(aclrtResetDevice(0), 507007);
  ExpectFailure(aclrtResetDeviceForce(0), 507007);
  ASSERT_EQ(aclrtSetDevice(0), 0);
  ASSERT_EQ(aclrtSetDevice(0), 0);
  EXPECT_EQ(aclrtResetDeviceForce(0), 0);
  ExpectFailure(aclrtResetDevice(0), 507007);
}

TEST(Context, Life) {
  aclrtContext first = nullptr, second = nullptr, current = nullptr;
  ASSERT_EQ(aclrtCreateContext(&first, 0), 0) << "needs no aclrtSetDevice";
  ASSERT_EQ(aclrtCreateContext(&second, 0), 0);
  ASSERT_EQ(aclrtGetCurrentContext(&current), 0);
  EXPECT_EQ(current, second);
  ASSERT_EQ(aclrtSetCurrentContext(first), 0);
  ASSERT_EQ(aclrtGetCurrentContext(&current), 0);
  EXPECT_EQ(current, first);
  aclrtStream of_first = nullptr, stream = nullptr;
  ASSERT_EQ(aclrtCtxGetCurrentDefaultStream(&of_first), 0);
  ASSERT_EQ(aclrtCreateStream(&stream), 0);
  EXPECT_EQ(aclrtDestroyContext(first), 0);
  ExpectFailure(aclrtSynchronizeStream(stream), 107017, "not a stream");
  ExpectFailure(aclrtSynchronizeStream(nullptr), 107002);
  ExpectFailure(aclrtGetCurrentContext(&current), 107002);
  ExpectFailure(aclrtCtxGetCurrentDefaultStream(&stream), 107002);
  EXPECT_EQ(aclrtDestroyContext(second), 0);

  ExpectFailure(aclrtCreateContext(nullptr, 0), 100000);
  ExpectFailure(aclrtCreateContext(&first, 5), 107001);
  ExpectFailure(aclrtDestroyContext(nullptr), 100000);
  ExpectFailure(aclrtDestroyContext(second), 107017);
  ExpectFailure(aclrtSetCurrentContext(nullptr), 100000);
  ExpectFailure(aclrtSetCurrentContext(&first), 107017);
  ExpectFailure(aclrtGetCurrentContext(nullptr), 100000);
}

class SystemTest : public AclTest {};

TEST_F(SystemTest, Queries) {
  uint32_t count = 0;
  aclrtRunMode mode = ACL_DEVICE;
  size_t free = 0, total = 0;
  int64_t value = 0;
  EXPECT_EQ(aclrtGetDeviceCount(&count), 0);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(aclrtGetRunMode(&mode), 0);
  EXPECT_EQ(mode, ACL_HOST);
  for (const aclrtMemAttr attr : {ACL_DDR_MEM, ACL_HBM_MEM, ACL_HBM_MEM_HUGE}) {
    ASSERT_EQ(aclrtGetMemInfo(attr, &free, &total), 0);
    EXPECT_GT(free, 0u);
    EXPECT_GE(total, free);
  }
  for (const aclrtDevAttr attr :
       {ACL_DEV_ATTR_AICORE_CORE_NUM, ACL_DEV_ATTR_VECTOR_CORE_NUM, ACL_DEV_ATTR_AICPU_CORE_NUM,
        ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE}) {
    ASSERT_EQ(aclrtGetDeviceInfo(0, attr, &value), 0);
    EXPECT_GT(value, 0);
  }
  EXPECT_EQ(aclrtGetDeviceInfo(0, ACL_DEV_ATTR_PHY_CHIP_ID, &value), 0);
  EXPECT_EQ(value, 0);
  EXPECT_EQ(aclGetDeviceCapability(0, ACL_DEVICE_INFO_AI_CORE_NUM, &value), 0);
  EXPECT_GT(value, 0);
  EXPECT_EQ(aclGetDeviceCapability(0, ACL_DEVICE_INFO_L2_SIZE, &value), 0);
  EXPECT_STREQ(aclrtGetSocName(), "Ascend910B1");

  ExpectFailure(aclrtGetDeviceCount(nullptr), 100000);
  ExpectFailure(aclrtGetRunMode(nullptr), 100000);
  ExpectFailure(aclrtGetMemInfo(ACL_HBM_MEM, nullptr, &total), 100000);
  ExpectFailure(aclrtGetMemInfo(ACL_HBM_MEM, &free, nullptr), 100000);
  ExpectFailure(aclrtGetMemInfo(static_cast<aclrtMemAttr>(18), &free, &total), 100000);
  std::thread([&] { ExpectFailure(aclrtGetMemInfo(ACL_HBM_MEM, &free, &total), 107002); }).join();
  ExpectFailure(aclrtGetDeviceInfo(0, ACL_DEV_ATTR_AICORE_CORE_NUM, nullptr), 100000);
  ExpectFailure(aclrtGetDeviceInfo(9, ACL_DEV_ATTR_AICORE_CORE_NUM, &value), 107001);
  ExpectFailure(aclrtGetDeviceInfo(0, ACL_DEV_ATTR_WARP_SIZE, &value), 207000);
  ExpectFailure(aclGetDeviceCapability(0, ACL_DEVICE_INFO_L2_SIZE, nullptr), 100000);
  ExpectFailure(aclGetDeviceCapability(4, ACL_DEVICE_INFO_L2_SIZE, &value), 107001);
  ExpectFailure(aclGetDeviceCapability(0, ACL_DEVICE_INFO_UNDEFINED, &value), 100000);
}

// acl_rt_api.h: the same calls without casts.
TEST_F(SystemTest, Overloads) {
  float *device = nullptr, host[4] = {1, 2, 3, 4};
  aclrtStream stream = nullptr;
  ASSERT_EQ(aclrtCreateStream(&stream, 0, ACL_STREAM_FAST_SYNC), 0);
  ASSERT_EQ(aclrtMalloc(&device, sizeof host, ACL_MEM_MALLOC_HUGE_FIRST), 0);
  EXPECT_EQ(aclrtMemcpy(device, sizeof host, host, sizeof host, ACL_MEMCPY_HOST_TO_DEVICE, stream),
            0);
  EXPECT_EQ(aclrtSynchronizeStream(stream, 1000), 0);
  EXPECT_EQ(device[3], 4);
  ExpectFailure(aclrtSynchronizeStream(stream, -2), 107000, "timeout");
  EXPECT_EQ(aclrtFree(device), 0);
  EXPECT_EQ(aclrtDestroyStream(stream), 0);
}

TEST_F(SystemTest, PeersAndSaturation) {
  int32_t can = 9;
  EXPECT_EQ(aclrtDeviceCanAccessPeer(&can, 0, 0), 0);
  EXPECT_EQ(can, 0);
  ExpectFailure(aclrtDeviceCanAccessPeer(nullptr, 0, 0), 100000);
  ExpectFailure(aclrtDeviceCanAccessPeer(&can, 0, 1), 107001);
  ExpectFailure(aclrtDeviceEnablePeerAccess(0, 0), 107000, "itself");
  ExpectFailure(aclrtDeviceEnablePeerAccess(1, 0), 107001);
  ExpectFailure(aclrtDeviceEnablePeerAccess(0, 1), 107000, "flags");
  ExpectFailure(aclrtDeviceDisablePeerAccess(1), 107001);
  aclrtFloatOverflowMode mode = ACL_RT_OVERFLOW_MODE_UNDEF;
  EXPECT_EQ(aclrtGetDeviceSatMode(&mode), 0);
  EXPECT_EQ(mode, ACL_RT_OVERFLOW_MODE_INFNAN);
  EXPECT_EQ(aclrtSetDeviceSatMode(ACL_RT_OVERFLOW_MODE_INFNAN), 0);
  ExpectFailure(aclrtSetDeviceSatMode(ACL_RT_OVERFLOW_MODE_SATURATION), 207000);
  ExpectFailure(aclrtSetDeviceSatMode(ACL_RT_OVERFLOW_MODE_UNDEF), 100000);
  ExpectFailure(aclrtGetDeviceSatMode(nullptr), 100000);
}

}  // namespace
}  // namespace ropekv::testing
