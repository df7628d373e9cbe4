// SPDX-License-Identifier: Apache-2.0
// The environment switches. Each test runs in a process of its own, with the environment that
// CMakeLists.txt gives it.
#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

using enum TensorId;

Spec WithSizes(int64_t q_heads, int64_t kv_heads, int64_t head_dim) {
  return DenseSpec({.batch = 2,
                    .num_q_heads = q_heads,
                    .num_kv_heads = kv_heads,
                    .head_dim = head_dim,
                    .cache_shape = {2, 4},
                    .offsets = true});
}

aclnnStatus Prepare(const Spec& spec, TensorId removed = kNoTensor) {
  Problem problem(spec, Flavour::kPlain, 1);
  AclCall call(spec, problem.actual());
  if (removed != kNoTensor) call.Remove(removed);
  return call.Prepare();
}

TEST(Strict, TakesWhatTheDeviceTakes) {
  EXPECT_EQ(Prepare(WithSizes(8, 1, 128)), 0) << TakeMessage();
  EXPECT_EQ(Prepare(WithSizes(30, 1, 128)), 0) << "H = 4096: " << TakeMessage();
  ExpectFailure(Prepare(WithSizes(31, 1, 128)), 561002, "x: ");
  ExpectFailure(Prepare(WithSizes(1, 1, 16)), 561002, "multiples of 64");
  ExpectFailure(Prepare(WithSizes(6, 1, 8)), 561002, "multiples of 16");
  ExpectFailure(Prepare(WithSizes(8, 1, 128), kOffsetK), 561002, "offsetKOptional");
  ExpectFailure(Prepare(WithSizes(8, 1, 128), kOffsetV), 561002, "offsetVOptional");
}

TEST(Strict, IndicesHaveOneDimension) {
  Spec spec = WithSizes(8, 1, 128);
  spec.indices = Dense(DType::kI32, {2, 1});
  ExpectFailure(Prepare(spec), 561002, "indices");
}

TEST(Strict, RefreshedAddressesAreAligned) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  aclTensor* x = test.call.tensor(kX);
  auto* address = reinterpret_cast<void*>(uintptr_t{0x10010});
  ExpectFailure(aclSetInputTensorAddr(test.call.executor, 0, x, address), 161002, "32");
  EXPECT_EQ(aclSetInputTensorAddr(test.call.executor, 0, x, reinterpret_cast<void*>(0x10020)), 0);
}

TEST(Lenient, TakesMoreThanTheDevice) {
  for (const Spec& spec : {WithSizes(31, 1, 128), WithSizes(1, 1, 16), WithSizes(6, 1, 8)}) {
    EXPECT_EQ(Prepare(spec), 0) << TakeMessage();
  }
  EXPECT_EQ(Prepare(WithSizes(8, 1, 128), kOffsetK), 0) << TakeMessage();
  Spec spec = WithSizes(8, 1, 128);
  spec.indices = Dense(DType::kI32, {2, 1});
  EXPECT_EQ(Prepare(spec), 0) << TakeMessage();
}

TEST(Overrides, NamesAndVersions) {
  EXPECT_STREQ(aclrtGetSocName(), "Ascend910_9392");
  int32_t major = 0, minor = 0, patch = 0;
  ASSERT_EQ(aclrtGetVersion(&major, &minor, &patch), 0);
  EXPECT_EQ(major * 10000 + minor * 100 + patch, 11700);
  char package[] = "runtime", text[ACL_PKG_VERSION_MAX_SIZE];
  ASSERT_EQ(aclsysGetVersionStr(package, text), 0);
  EXPECT_STREQ(text, "9.1.2");
}

TEST(Overrides, SeveralDevices) {
  uint32_t count = 0;
  ASSERT_EQ(aclrtGetDeviceCount(&count), 0);
  ASSERT_EQ(count, 2u);
  ASSERT_EQ(aclrtSetDevice(0), 0);
  aclrtContext first = nullptr, second = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&first), 0);
  ASSERT_EQ(aclrtSetDevice(1), 0);
  ASSERT_EQ(aclrtGetCurrentContext(&second), 0);
  EXPECT_NE(first, second);
  int32_t device = -1, can = 0;
  EXPECT_EQ(aclrtGetDevice(&device), 0);
  EXPECT_EQ(device, 1);
  EXPECT_EQ(aclrtSetCurrentContext(first), 0);
  EXPECT_EQ(aclrtGetDevice(&device), 0);
  EXPECT_EQ(device, 0);
  EXPECT_EQ(aclrtDeviceCanAccessPeer(&can, 0, 1), 0);
  EXPECT_EQ(can, 1);
  ExpectFailure(aclrtDeviceDisablePeerAccess(1), 107000, "not enabled");
  EXPECT_EQ(aclrtDeviceEnablePeerAccess(1, 0), 0);
  EXPECT_EQ(aclrtDeviceDisablePeerAccess(1), 0);
  void* memory = nullptr;
  EXPECT_EQ(aclrtSetCurrentContext(second), 0);
  ASSERT_EQ(aclrtMalloc(&memory, 64, ACL_MEM_MALLOC_HUGE_FIRST), 0);
  aclrtPtrAttributes attributes;
  ASSERT_EQ(aclrtPointerGetAttributes(memory, &attributes), 0);
  EXPECT_EQ(attributes.location.id, 1u);
  EXPECT_EQ(aclrtFree(memory), 0);
  aclrtMallocAttribute attribute = {ACL_RT_MEM_ATTR_DEVICE_ID, {.deviceId = 0}};
  aclrtMallocConfig config = {&attribute, 1};
  ASSERT_EQ(aclrtMallocWithCfg(&memory, 64, ACL_MEM_MALLOC_HUGE_FIRST, &config), 0);
  ASSERT_EQ(aclrtPointerGetAttributes(memory, &attributes), 0);
  EXPECT_EQ(attributes.location.id, 0u);
  EXPECT_EQ(aclrtFree(memory), 0);
  EXPECT_EQ(aclrtResetDevice(0), 0);
  EXPECT_EQ(aclrtResetDevice(1), 0);
}

TEST(BadValue, IsNamedByTheFirstPhase) {
  Case test;
  ExpectFailure(test.call.Prepare(), 561000, "ROPEKV_NUMERICS=bf16");
}

TEST(BadCount, IsNamedByTheFirstPhase) {
  Case test;
  ExpectFailure(test.call.Prepare(), 561000, "ROPEKV_DEVICE_COUNT=2x");
}

TEST(BadVersion, IsNamedByTheFirstPhase) {
  Case test;
  ExpectFailure(test.call.Prepare(), 561000, "ROPEKV_ACL_VERSION=1.17.0x");
}

TEST(HugeVersion, IsNamedByTheFirstPhase) {
  Case test;
  ExpectFailure(test.call.Prepare(), 561000, "ROPEKV_ACL_VERSION=1.99999999999.0");
}

TEST(BadTarget, IsNamedByTheFirstPhase) {
  const Spec spec = WithSizes(8, 1, 128);
  ExpectFailure(Prepare(spec), 561003, "ROPEKV_TARGET");
}

}  // namespace
}  // namespace ropekv::testing
