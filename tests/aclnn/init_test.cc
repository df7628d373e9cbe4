// SPDX-License-Identifier: Apache-2.0
// Initialisation, versions, messages, logs, data buffers.
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
  // While it is initialised no configuration matters, and the call counts.
  ExpectFailure(aclInit(good.c_str()), 100002, "harmless");
  ExpectFailure(aclInit("/does/not/exist"), 100002, "harmless");
  uint64_t left = 0;
  EXPECT_EQ(aclFinalizeReference(&left), 0);
  EXPECT_EQ(left, 2u);
  EXPECT_EQ(aclFinalize(), 0);
  ExpectFailure(aclInit(good.c_str()), 100000, "differs");
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
  // Of the last, the number would not fit.
  for (const char* version : {"unknown", "9", "-1.2.3", "99999999999.1.0", "215.0.0"}) {
    SetVersionFile(version);
    ExpectFailure(aclsysGetVersionNum(package, &number), 100003, version);
  }
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
  EXPECT_EQ(TakeMessage(), "100000 aclGetDataBufferAddr: dataBuffer is null");
  EXPECT_EQ(aclGetDataBufferSizeV2(nullptr), 0u);
  EXPECT_EQ(TakeMessage(), "100000 aclGetDataBufferSizeV2: dataBuffer is null");
  EXPECT_EQ(aclGetDataBufferSize(nullptr), 0u);
  EXPECT_EQ(TakeMessage(), "100000 aclGetDataBufferSize: dataBuffer is null");
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
