// SPDX-License-Identifier: Apache-2.0
// Allocation and its account.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

constexpr auto kPolicy = ACL_MEM_MALLOC_HUGE_FIRST;
constexpr size_t kPage = size_t{2} << 20;

class MemoryTest : public AclTest {
 protected:
  unsigned char* Malloc(size_t size) {
    void* memory = nullptr;
    EXPECT_EQ(aclrtMalloc(&memory, size, kPolicy), 0) << TakeMessage();
    return static_cast<unsigned char*>(memory);
  }
  aclrtMemLocationType Where(const void* pointer) {
    aclrtPtrAttributes attributes;
    EXPECT_EQ(aclrtPointerGetAttributes(pointer, &attributes), 0);
    return attributes.location.type;
  }
};

TEST_F(MemoryTest, EveryDeviceAllocator) {
  aclrtMallocAttribute attribute = {ACL_RT_MEM_ATTR_MODULE_ID, {.moduleId = 3}};
  aclrtMallocConfig config = {&attribute, 1};
  for (const size_t size : {size_t{1}, size_t{512}, kPage, 3 * kPage + 5}) {
    void* memory[5] = {};
    ASSERT_EQ(aclrtMalloc(&memory[0], size, kPolicy), 0);
    ASSERT_EQ(aclrtMallocAlign32(&memory[1], size, ACL_MEM_MALLOC_NORMAL_ONLY), 0);
    ASSERT_EQ(aclrtMallocCached(&memory[2], size, ACL_MEM_MALLOC_HUGE_ONLY), 0);
    ASSERT_EQ(aclrtMallocWithCfg(&memory[3], size, kPolicy, &config), 0);
    ASSERT_EQ(aclrtMallocWithCfg(&memory[4], size, static_cast<aclrtMemMallocPolicy>(99), nullptr),
              0);
    for (void* pointer : memory) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(pointer) % 64, 0u);
      std::memset(pointer, 0x5A, size);
      // As on the device, the rest of the page and 32 more bytes may be touched.
      std::memset(pointer, 0x5A, (size + 63) / 32 * 32);
      std::memset(pointer, 0x5A, std::max(size, kPage));
      EXPECT_EQ(Where(pointer), ACL_MEM_LOCATION_TYPE_DEVICE);
      EXPECT_EQ(Where(static_cast<char*>(pointer) + size - 1), ACL_MEM_LOCATION_TYPE_DEVICE);
      EXPECT_EQ(aclrtMemFlush(pointer, size), 0);
      EXPECT_EQ(aclrtMemInvalidate(pointer, size), 0);
      EXPECT_EQ(aclrtFree(pointer), 0);
    }
  }
}

TEST_F(MemoryTest, BadAllocations) {
  void* memory = nullptr;
  for (const auto malloc : {aclrtMalloc, aclrtMallocAlign32, aclrtMallocCached}) {
    ExpectFailure(malloc(nullptr, 8, kPolicy), 100000, "devPtr");
    ExpectFailure(malloc(&memory, 0, kPolicy), 100000, "size 0");
    ExpectFailure(malloc(&memory, SIZE_MAX - 8, kPolicy), 100000, "size");
    ExpectFailure(malloc(&memory, SIZE_MAX / 2, kPolicy), 207001, "memory");
  }
  // Also where the kernel would promise it.
  size_t free = 0, total = 0;
  ASSERT_EQ(aclrtGetMemInfo(ACL_HBM_MEM, &free, &total), 0);
  ExpectFailure(aclrtMalloc(&memory, 64 * total, kPolicy), 207001, "memory");
  ExpectFailure(aclrtMallocHost(&memory, 64 * total), 207001, "memory");
  ExpectFailure(aclrtMallocWithCfg(nullptr, 8, kPolicy, nullptr), 100000);
  aclrtMallocConfig config = {nullptr, 1};
  ExpectFailure(aclrtMallocWithCfg(&memory, 8, kPolicy, &config), 100000, "attrs");
  aclrtMallocAttribute attribute = {ACL_RT_MEM_ATTR_DEVICE_ID, {.deviceId = 77}};
  config.attrs = &attribute;
  ExpectFailure(aclrtMallocWithCfg(&memory, 8, kPolicy, &config), 107001, "77");
  ExpectFailure(aclrtMallocHost(nullptr, 8), 100000);
  ExpectFailure(aclrtMallocHost(&memory, 0), 100000);
  ExpectFailure(aclrtMallocHost(&memory, SIZE_MAX - 8), 207001);
  EXPECT_EQ(memory, nullptr);
}

TEST_F(MemoryTest, BadFrees) {
  unsigned char* memory = Malloc(64);
  int on_stack = 0;
  void* host = nullptr;
  ASSERT_EQ(aclrtMallocHost(&host, 64), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(host) % 64, 0u);
  for (const auto free : {aclrtFree, aclrtFreeWithDevSync, aclrtFreeHost}) {
    ExpectFailure(free(nullptr), 100000, "null");
    ExpectFailure(free(&on_stack), 107000);
  }
  ExpectFailure(aclrtFree(memory + 1), 107000);
  ExpectFailure(aclrtFree(host), 107000);
  ExpectFailure(aclrtFreeHost(memory), 107000);
  EXPECT_EQ(aclrtFreeHost(host), 0);
  EXPECT_EQ(aclrtFreeWithDevSync(memory), 0);
  ExpectFailure(aclrtFree(memory), 107000);
  ExpectFailure(aclrtMemFlush(nullptr, 1), 100000);
  ExpectFailure(aclrtMemInvalidate(&on_stack, 0), 100000);
  ExpectFailure(aclrtMemFlush(&on_stack, 4), 107000);
  ExpectFailure(aclrtMemInvalidate(&on_stack, 4), 107000);
}

TEST_F(MemoryTest, HostRegistration) {
  std::vector<char> mine(4096);
  void* device = nullptr;
  EXPECT_EQ(Where(mine.data()), ACL_MEM_LOCATION_TYPE_UNREGISTERED);
  ASSERT_EQ(aclrtHostRegister(mine.data(), mine.size(), ACL_HOST_REGISTER_MAPPED, &device), 0);
  EXPECT_EQ(device, mine.data());
  EXPECT_EQ(Where(mine.data() + 100), ACL_MEM_LOCATION_TYPE_HOST);
  ExpectFailure(aclrtHostRegister(mine.data() + 8, 8, ACL_HOST_REGISTER_MAPPED, &device), 507910);
  EXPECT_EQ(aclrtHostUnregister(mine.data()), 0);
  ExpectFailure(aclrtHostUnregister(mine.data()), 507911);
  ExpectFailure(aclrtHostUnregister(nullptr), 100000);
  ExpectFailure(aclrtHostRegister(nullptr, 8, ACL_HOST_REGISTER_MAPPED, &device), 100000);
  ExpectFailure(aclrtHostRegister(mine.data(), 8, ACL_HOST_REGISTER_MAPPED, nullptr), 100000);
  ExpectFailure(aclrtHostRegister(mine.data(), 0, ACL_HOST_REGISTER_MAPPED, &device), 100000);
  ExpectFailure(aclrtHostRegister(mine.data(), 8, ACL_HOST_REGISTER_IOMEMORY, &device), 207000);
  aclrtPtrAttributes attributes;
  ExpectFailure(aclrtPointerGetAttributes(nullptr, &attributes), 100000);
  ExpectFailure(aclrtPointerGetAttributes(mine.data(), nullptr), 100000);
}

TEST_F(MemoryTest, FreedMemoryServesQueuedTasksFirst) {
  unsigned char* source = Malloc(3 * kPage);
  unsigned char* target = Malloc(3 * kPage);
  std::memset(source, 0x11, 3 * kPage);
  Gate gate(stream_);
  ASSERT_EQ(
      aclrtMemcpyAsync(target, 3 * kPage, source, 3 * kPage, ACL_MEMCPY_DEVICE_TO_DEVICE, stream_),
      0);
  ASSERT_EQ(aclrtFree(source), 0);  // the caller's mistake, which a CPU can forgive
  ExpectFailure(aclrtFree(source), 107000);
  gate.Open();
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(target[3 * kPage - 1], 0x11);
  EXPECT_EQ(aclrtFree(target), 0);
}

// The sum counts, too. The memory is never touched.
TEST_F(MemoryTest, EndsWhereTheMachineEnds) {
  size_t free = 0, total = 0;
  ASSERT_EQ(aclrtGetMemInfo(ACL_HBM_MEM, &free, &total), 0);
  std::vector<void*> blocks;
  int code = 0;
  while (code == 0 && blocks.size() < 1000) {
    void* memory = nullptr;
    code = aclrtMalloc(&memory, total / 4, kPolicy);
    if (code == 0) blocks.push_back(memory);
  }
  ExpectFailure(code, 207001, "memory");
  EXPECT_GE(blocks.size(), 3u);
  for (void* block : blocks) EXPECT_EQ(aclrtFree(block), 0);
  unsigned char* again = Malloc(total / 4);
  EXPECT_EQ(aclrtFree(again), 0);
}

// Some published samples describe int32 tensors on buffers made for int16: the page hides it. They
// also give float scales as int32 2, a subnormal that must not be flushed to zero: 0 / 2.8e-45 is
// 0.
TEST_F(MemoryTest, TensorLargerThanItsBuffer) {
  constexpr int64_t kHidden = 128, kHeadDim = 32;
  const auto device = [&](size_t bytes, auto value) {
    unsigned char* memory = Malloc(bytes);
    for (size_t i = 0; i < bytes; i += sizeof value) std::memcpy(memory + i, &value, sizeof value);
    return memory;
  };
  Spec spec = DenseSpec({.seq_len = 1,
                         .num_q_heads = 2,
                         .num_kv_heads = 1,
                         .head_dim = kHeadDim,
                         .x_dtype = DType::kI32,
                         .out_dtype = DType::kF16,
                         .cache_shape = {1, 2}});
  spec.scale_k = spec.scale_v = Dense(DType::kF32, {kHeadDim});
  Args args;
  args.x = device(kHidden * sizeof(int16_t), int16_t{2});
  args.cos = device(kHeadDim * 2, int16_t{2});
  args.sin = device(kHeadDim * 2, int16_t{2});
  args.k_cache = device(2 * kHeadDim, int8_t{6});
  args.v_cache = device(2 * kHeadDim, int8_t{6});
  args.indices = device(4, int32_t{0});
  args.scale_k = args.scale_v = device(kHeadDim * 4, int32_t{2});
  args.weight_scale = device(kHidden * 4, int32_t{2});
  args.q = device(2 * kHeadDim * 2, int16_t{2});
  AclCall call(spec, args);
  ASSERT_EQ(call.Run(stream_), 0) << TakeMessage();
  for (const void* cache : {args.k_cache, args.v_cache}) {
    const auto* rows = static_cast<const int8_t*>(cache);
    EXPECT_EQ(rows[0], 0);
    EXPECT_EQ(rows[kHeadDim - 1], 0);
    EXPECT_EQ(rows[kHeadDim], 6);
  }
  for (const void* memory :
       {args.x, args.cos, args.sin, args.indices, args.scale_k, args.weight_scale,
        static_cast<const void*>(args.k_cache), static_cast<const void*>(args.v_cache),
        static_cast<const void*>(args.q)}) {
    EXPECT_EQ(aclrtFree(const_cast<void*>(memory)), 0);
  }
}

}  // namespace
}  // namespace ropekv::testing
