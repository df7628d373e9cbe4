// SPDX-License-Identifier: Apache-2.0
// Each allocation of each call fails once in turn: the call fails, leaks nothing, leaves everything
// as it was, and succeeds when it is made again.
#include "aclnn/out_of_memory.h"

#include <fstream>
#include <string>

#include "aclnn/aclnn_base.h"

namespace ropekv::testing {
namespace {

constexpr auto kPolicy = ACL_MEM_MALLOC_HUGE_FIRST;
const int64_t kInts[] = {1, 2, 3};

TEST_F(OutOfMemory, Descriptors) {
  aclTensor* tensor = nullptr;
  FailEach(
      "aclCreateTensor",
      [&] {
        tensor = aclCreateTensor(kInts, 3, ACL_INT8, nullptr, 0, ACL_FORMAT_ND, kInts, 3, nullptr);
        return tensor ? 0 : 1;
      },
      [&] { return aclDestroyTensor(tensor); });
  aclIntArray* ints = nullptr;
  FailEach(
      "aclCreateIntArray", [&] { return (ints = aclCreateIntArray(kInts, 3)) ? 0 : 1; },
      [&] { return aclDestroyIntArray(ints); });
  double value = 1;
  aclScalar* scalar = nullptr;
  FailEach(
      "aclCreateScalar", [&] { return (scalar = aclCreateScalar(&value, ACL_DOUBLE)) ? 0 : 1; },
      [&] { return aclDestroyScalar(scalar); });
  const aclTensor* elements[] = {nullptr};
  aclTensorList* list = nullptr;
  FailEach(
      "aclCreateTensorList", [&] { return (list = aclCreateTensorList(elements, 1)) ? 0 : 1; },
      [&] { return aclDestroyTensorList(list); });
  aclDataBuffer* buffer = nullptr;
  FailEach(
      "aclCreateDataBuffer", [&] { return (buffer = aclCreateDataBuffer(&value, 8)) ? 0 : 1; },
      [&] { return aclDestroyDataBuffer(buffer); });
  const TensorPtr shape(
      aclCreateTensor(kInts, 3, ACL_INT8, nullptr, 0, ACL_FORMAT_ND, kInts, 3, nullptr));
  int64_t* dims = nullptr;
  uint64_t size = 0;
  FailEach(
      "aclGetViewShape", [&] { return aclGetViewShape(shape.get(), &dims, &size); },
      [&] {
        delete[] dims;
        return 0;
      });
  FailEach("aclInitTensor", [&] {
    return aclInitTensor(shape.get(), kInts, 3, ACL_INT8, nullptr, 0, ACL_FORMAT_ND, kInts, 3,
                         nullptr);
  });
}

TEST_F(OutOfMemory, Memory) {
  void* memory = nullptr;
  FailEach(
      "aclrtMalloc", [&] { return aclrtMalloc(&memory, 100, kPolicy); },
      [&] { return aclrtFree(memory); });
  FailEach(
      "aclrtMallocHost", [&] { return aclrtMallocHost(&memory, 100); },
      [&] { return aclrtFreeHost(memory); });
  int data = 0;
  FailEach(
      "aclrtHostRegister",
      [&] { return aclrtHostRegister(&data, 4, ACL_HOST_REGISTER_MAPPED, &memory); },
      [&] { return aclrtHostUnregister(&data); });
}

// What was taken from the system before the call failed goes back, and is taken off the account.
TEST_F(OutOfMemory, NoMemoryIsLostWithoutANote) {
  size_t free = 0, total = 0;
  ASSERT_EQ(aclrtGetMemInfo(ACL_HBM_MEM, &free, &total), 0);
  void* memory = nullptr;
  for (int round = 0; round < 32; ++round) {
    FailAllocation(round % 4 + 1);
    const int code = aclrtMalloc(&memory, total / 4, kPolicy);
    if (StopFailing()) {
      ExpectFailure(code, 200000, "out of host memory");
    } else {
      ASSERT_EQ(code, 0);
      ASSERT_EQ(aclrtFree(memory), 0);
    }
  }
  ASSERT_EQ(aclrtMalloc(&memory, total / 4, kPolicy), 0) << TakeMessage();
  EXPECT_EQ(aclrtFree(memory), 0);
}

TEST_F(OutOfMemory, FreeingCanBeTriedAgain) {
  const Gate gate(stream_);  // keeps freed blocks waiting, so that their account grows
  int failures = 0;
  for (int round = 0; round < 100; ++round) {
    void* memory = nullptr;
    ASSERT_EQ(aclrtMalloc(&memory, 100, kPolicy), 0);
    FailAllocation(1);
    int code = aclrtFree(memory);
    if (StopFailing()) {
      EXPECT_NE(code, 0);
      ++failures;
      code = aclrtFree(memory);
    }
    ASSERT_EQ(code, 0) << TakeMessage();
  }
  EXPECT_GT(failures, 0);
}

TEST_F(OutOfMemory, Messages) {
  aclrtFree(nullptr);
  FailAllocation(1);
  EXPECT_EQ(aclGetRecentErrMsg(), nullptr);
  EXPECT_TRUE(StopFailing());
  EXPECT_EQ(TakeMessage(), "100000 aclrtFree: the pointer is null");
}

// Both phases and the synchronise: the result is all there, or there is an error and nothing is.
class OutOfMemoryCall : public OutOfMemory {
 protected:
  void FailEachOfACall(const Spec& spec) {
    Case test(1, spec);
    const auto run = [&] { return test.call.Run(stream_); };
    ASSERT_EQ(run(), 0);
    test.problem.ResetActual();
    int untouched = 0;
    const auto check = [&](int code, bool failed) {
      EXPECT_EQ(code != 0, failed);
      untouched += code != 0;
      EXPECT_EQ(code == 0 ? test.problem.Compare() : test.problem.CompareUntouched(), "");
      test.problem.ResetActual();
      aclrtFree(nullptr);
      TakeMessage();
    };
    check(run(), false);
    EXPECT_GT(FailEachAllocation(run, check), 0);
    EXPECT_GT(untouched, 0);
  }
};

TEST_F(OutOfMemoryCall, InTheCaller) { FailEachOfACall(PagedSpec()); }

TEST_F(OutOfMemoryCall, InTheStream) { FailEachOfACall(PagedSpec(64)); }

// An executor that failed to start because there was no memory is consumed, like any other.
TEST_F(OutOfMemoryCall, Executors) {
  Case test;
  FailEach(
      "aclnnDequantRopeQuantKvcacheGetWorkspaceSize", [&] { return test.call.Prepare(); },
      [&] {
        return aclSetAclOpExecutorRepeatable(test.call.executor) +
               aclDestroyAclOpExecutor(test.call.executor);
      });
}

TEST_F(OutOfMemory, Initialisation) {
  const std::string path = ::testing::TempDir() + "out_of_memory.json";
  std::ofstream(path) << R"({"a": 1})";
  const auto initialise = [&] { return aclInit(path.c_str()); };
  FailEach("aclInit", initialise, aclFinalize);
  FailEach("aclnnInit", [&] { return aclnnInit(path.c_str()); });
}

}  // namespace
}  // namespace ropekv::testing
