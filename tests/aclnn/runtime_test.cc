// SPDX-License-Identifier: Apache-2.0
// Initialisation, devices, contexts, queries, versions, messages, logs, data buffers.
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

std::string WriteFile(const std::string& name, const std::string& contents) {
  const std::string path = ::testing::TempDir() + name;
  std::ofstream(path) << contents;
  return path;
}

TEST(Init, CountsAndFinalises) {
  EXPECT_EQ(aclFinalize(), 0) << "once, even without aclInit";
  ExpectFailure(aclFinalize(), 100037);
  EXPECT_EQ(aclInit(nullptr), 0);
  ExpectFailure(aclInit(""), 100002, "harmless");
  uint64_t left = 9;
  EXPECT_EQ(aclFinalizeReference(&left), 0);
  EXPECT_EQ(left, 1u);
  EXPECT_EQ(aclFinalizeReference(nullptr), 0);
  ExpectFailure(aclFinalizeReference(&left), 100037);
  EXPECT_EQ(aclInit(nullptr), 0);
  EXPECT_EQ(aclFinalize(), 0);
  ExpectFailure(aclFinalize(), 100037);
}

TEST(Init, ReadsTheConfiguration) {
  ExpectFailure(aclInit("/does/not/exist"), 100003, "/does/not/exist");
  for (const char* bad : {"", "{", "[]", "{\"a\":}", "{} x", "{\"a\" 1}", "{\"a\":nonsense}",
                          "{\"a\":[1,2}", "{\"a\":1,}"}) {
    ExpectFailure(aclInit(WriteFile("bad.json", bad).c_str()), 100006, "JSON");
  }
  // The first configuration of the process was empty, so that another one is refused.
  EXPECT_EQ(aclInit(nullptr), 0);
  const std::string good = WriteFile("good.json", R"({"a": [1, -2.5e3, {"b": null}], "c": "\"x"})");
  ExpectFailure(aclInit(good.c_str()), 100000, "differs");
  EXPECT_EQ(aclFinalize(), 0);
}

// In a process of its own, because the first configuration counts.
TEST(Init, MessagesPerProcess) {
  const std::string path = WriteFile("shared.json", R"({"err_msg_mode": "1"})");
  const auto run = [&] {
    if (aclInit(path.c_str()) != 0) std::exit(1);
    std::thread([] { aclrtFree(nullptr); }).join();
    std::exit(TakeMessage().find("100000 aclrtFree") == 0 ? 0 : 2);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

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
  ExpectFailure(aclrtSynchronizeDevice(), 107002);
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

void SetVersionFile(const std::string& version) {
  const std::string home = ::testing::TempDir() + "home";
  const std::string folder = home + "/share/info/runtime";
  ASSERT_EQ(std::system(("mkdir -p " + folder).c_str()), 0);
  std::ofstream(folder + "/version.info") << "Name=x\nVersion=" << version << "\n";
  ASSERT_EQ(setenv("ASCEND_HOME_PATH", home.c_str(), 1), 0);
}

TEST(Version, FromTheToolkit) {
  int32_t major = 0, minor = 0, patch = 0;
  EXPECT_EQ(aclrtGetVersion(&major, &minor, &patch), 0);
  EXPECT_EQ(major * 10000 + minor * 100 + patch, 11500);
  ExpectFailure(aclrtGetVersion(nullptr, &minor, &patch), 100000);
  ExpectFailure(aclrtGetVersion(&major, nullptr, &patch), 100000);
  ExpectFailure(aclrtGetVersion(&major, &minor, nullptr), 100000);

  const std::pair<const char*, int32_t> kVersions[] = {{"8.5.0", 80500000},
                                                       {"8.1.RC1", 80100000 - 99},
                                                       {"9.0.0-beta.2", 90000000 - 198},
                                                       {"8.5.0.alpha003", 80500000 - 297},
                                                       {"8.2.3", 80203000}};
  char package[] = "runtime", missing[] = "nothing";
  char text[ACL_PKG_VERSION_MAX_SIZE];
  int32_t number = 0;
  for (const auto& [version, expected] : kVersions) {
    SetVersionFile(version);
    ASSERT_EQ(aclsysGetVersionStr(package, text), 0) << TakeMessage();
    EXPECT_STREQ(text, version);
    ASSERT_EQ(aclsysGetVersionNum(package, &number), 0);
    EXPECT_EQ(number, expected) << version;
  }
  SetVersionFile("unknown");
  ExpectFailure(aclsysGetVersionNum(package, &number), 100003, "unknown");
  ExpectFailure(aclsysGetVersionStr(missing, text), 100003, "nothing");
  ExpectFailure(aclsysGetVersionNum(missing, &number), 100003);
  ExpectFailure(aclsysGetVersionStr(nullptr, text), 100000);
  ExpectFailure(aclsysGetVersionStr(package, nullptr), 100000);
  ExpectFailure(aclsysGetVersionNum(nullptr, &number), 100000);
  ExpectFailure(aclsysGetVersionNum(package, nullptr), 100000);
  ASSERT_EQ(unsetenv("ASCEND_HOME_PATH"), 0);
  ExpectFailure(aclsysGetVersionStr(package, text), 100003, "ASCEND_HOME_PATH");
}

TEST(Messages, NewestFirstPerThreadAndCleared) {
  TakeMessage();
  EXPECT_EQ(aclGetRecentErrMsg(), nullptr);
  aclrtFree(nullptr);
  aclrtFreeHost(nullptr);
  std::thread([] {
    EXPECT_EQ(aclGetRecentErrMsg(), nullptr);
    aclrtSetDevice(-5);
  }).join();
  const std::string messages = TakeMessage();
  const size_t newer = messages.find("aclrtFreeHost"), older = messages.find("aclrtFree:");
  EXPECT_LT(newer, older);
  EXPECT_EQ(messages.find("-5"), std::string::npos);
  EXPECT_EQ(aclGetRecentErrMsg(), nullptr);
  for (int i = 0; i < 1000; ++i) aclrtFree(nullptr);
  EXPECT_LT(TakeMessage().size(), 10'000u) << "bounded when nobody asks";
}

TEST(Messages, LastError) {
  aclrtGetLastError(ACL_RT_THREAD_LEVEL);
  EXPECT_EQ(aclrtPeekAtLastError(ACL_RT_THREAD_LEVEL), 0);
  aclrtSetDevice(-1);
  aclDestroyIntArray(nullptr);
  EXPECT_NE(aclGetViewOffset(nullptr, nullptr), 0);  // not the runtime's
  EXPECT_EQ(aclrtPeekAtLastError(ACL_RT_THREAD_LEVEL), 107001);
  EXPECT_EQ(aclrtGetLastError(ACL_RT_THREAD_LEVEL), 107001);
  EXPECT_EQ(aclrtPeekAtLastError(ACL_RT_THREAD_LEVEL), 0);
  TakeMessage();
}

TEST(Messages, Log) {
  ::testing::internal::CaptureStderr();
  ACL_APP_LOG(ACL_ERROR, "seen %d", 42);
  ACL_APP_LOG(ACL_INFO, "not seen");
  aclAppLog(ACL_ERROR, nullptr, nullptr, 1, "bare");
  aclAppLog(ACL_ERROR, nullptr, nullptr, 1, nullptr);
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("[ERROR] "), std::string::npos) << text;
  EXPECT_NE(text.find("seen 42"), std::string::npos) << text;
  EXPECT_EQ(text.find("not seen"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(DataBuffer, HoldsAPointerAndASize) {
  int data = 0;
  aclDataBuffer* buffer = aclCreateDataBuffer(&data, 12);
  EXPECT_EQ(aclGetDataBufferAddr(buffer), &data);
  EXPECT_EQ(aclGetDataBufferSize(buffer), 12u);
  EXPECT_EQ(aclUpdateDataBuffer(buffer, &buffer, size_t{5} << 30), 0);
  EXPECT_EQ(aclGetDataBufferAddr(buffer), &buffer);
  EXPECT_EQ(aclGetDataBufferSizeV2(buffer), size_t{5} << 30);
  EXPECT_EQ(aclDestroyDataBuffer(buffer), 0);
  ExpectFailure(aclDestroyDataBuffer(nullptr), 100000);
  ExpectFailure(aclUpdateDataBuffer(nullptr, &data, 1), 100000);
  EXPECT_EQ(aclGetDataBufferAddr(nullptr), nullptr);
  ExpectFailure(static_cast<int>(aclGetDataBufferSizeV2(nullptr)) + 100000, 100000);
  EXPECT_EQ(aclGetDataBufferSize(nullptr), 0u);
  TakeMessage();
}

// Found by name only.
TEST(HugeMem, IsThere) {
  const auto init =
      reinterpret_cast<int (*)(void*, bool)>(dlsym(RTLD_DEFAULT, "InitHugeMemThreadLocal"));
  const auto release =
      reinterpret_cast<void (*)(void*, bool)>(dlsym(RTLD_DEFAULT, "ReleaseHugeMem"));
  const auto end =
      reinterpret_cast<void (*)(void*, bool)>(dlsym(RTLD_DEFAULT, "UnInitHugeMemThreadLocal"));
  ASSERT_TRUE(init && release && end);
  EXPECT_EQ(init(nullptr, false), 0);
  release(nullptr, false);
  end(nullptr, false);
}

}  // namespace
}  // namespace ropekv::testing
