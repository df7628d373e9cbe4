// SPDX-License-Identifier: Apache-2.0
// The functions that the other tests of memory that runs out leave: those that are like another,
// and those that should need none. And all there are, with arguments that they refuse.
#include <iterator>
#include <set>
#include <string>

#include "aclnn/every_function.h"
#include "aclnn/out_of_memory.h"

namespace ropekv::testing {
namespace {

constexpr auto kPolicy = ACL_MEM_MALLOC_HUGE_FIRST;

class OutOfMemoryFunctions : public OutOfMemory {
 protected:
  void TearDown() override {
    EXPECT_GT(failures_, 0) << "nothing here needs memory";
    OutOfMemory::TearDown();
  }
  void Call(
      const char* name, const std::function<int()>& call,
      const std::function<int()>& undo = [] { return 0; }) {
    SCOPED_TRACE(name);
    CountFailures(call, undo, failures_);
  }

  int64_t failures_ = 0;
};

TEST_F(OutOfMemoryFunctions, DescriptorsAndAddresses) {
  const float floats[] = {1, 2};
  const bool bools[] = {true};
  int16_t value = 1;
  aclFloatArray* float_array = nullptr;
  Call(
      "aclCreateFloatArray", [&] { return (float_array = aclCreateFloatArray(floats, 2)) ? 0 : 1; },
      [&] { return aclDestroyFloatArray(float_array); });
  aclBoolArray* bool_array = nullptr;
  Call(
      "aclCreateBoolArray", [&] { return (bool_array = aclCreateBoolArray(bools, 1)) ? 0 : 1; },
      [&] { return aclDestroyBoolArray(bool_array); });
  const aclScalar* scalars[] = {aclCreateScalar(&value, ACL_INT16)};
  aclScalarList* list = nullptr;
  // Destroys its elements too.
  Call(
      "aclCreateScalarList", [&] { return (list = aclCreateScalarList(scalars, 1)) ? 0 : 1; },
      [&] {
        const int code = aclDestroyScalarList(list);
        scalars[0] = aclCreateScalar(&value, ACL_INT16);
        return code;
      });
  EXPECT_EQ(aclDestroyScalar(scalars[0]), 0);
  aclDataBuffer* const buffer = aclCreateDataBuffer(&value, 2);
  Call("aclUpdateDataBuffer", [&] { return aclUpdateDataBuffer(buffer, &value, 2); });
  EXPECT_EQ(aclDestroyDataBuffer(buffer), 0);

  const TensorPtr tensor = MakeTensor(PagedSpec().x, &value);
  int64_t* numbers = nullptr;
  uint64_t size = 0;
  const auto release = [&] {
    delete[] numbers;
    return 0;
  };
  Call(
      "aclGetStorageShape", [&] { return aclGetStorageShape(tensor.get(), &numbers, &size); },
      release);
  Call(
      "aclGetViewStrides", [&] { return aclGetViewStrides(tensor.get(), &numbers, &size); },
      release);
  Call("aclSetRawTensorAddr", [&] { return aclSetRawTensorAddr(tensor.get(), &value); });

  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  aclOpExecutor* const executor = test.call.executor;
  ASSERT_EQ(aclSetAclOpExecutorRepeatable(executor), 0);
  aclTensor* const x = test.call.tensor(TensorId::kX);
  void* address = nullptr;
  ASSERT_EQ(aclGetRawTensorAddr(x, &address), 0);
  const aclTensor* elements[] = {x};
  aclTensorList* const tensors = aclCreateTensorList(elements, 1);
  for (const auto set : {aclSetInputTensorAddr, aclSetTensorAddr, AclSetInputTensorAddr}) {
    Call("aclSetInputTensorAddr", [&] { return set(executor, 0, x, address); });
  }
  for (const auto set : {aclSetDynamicInputTensorAddr, aclSetDynamicTensorAddr}) {
    Call("aclSetDynamicInputTensorAddr", [&] { return set(executor, 0, 0, tensors, address); });
  }
  // Of the list's elements the call still has one.
  static_cast<void>(test.call.tensors[0].release());
  EXPECT_EQ(aclDestroyTensorList(tensors), 0);
  EXPECT_EQ(aclDestroyAclOpExecutor(executor), 0);
}

TEST_F(OutOfMemoryFunctions, Memory) {
  void* memory = nullptr;
  const auto free = [&] { return aclrtFree(memory); };
  Call(
      "aclrtMallocAlign32", [&] { return aclrtMallocAlign32(&memory, 100, kPolicy); }, free);
  Call(
      "aclrtMallocCached", [&] { return aclrtMallocCached(&memory, 100, kPolicy); }, free);
  Call(
      "aclrtMallocWithCfg", [&] { return aclrtMallocWithCfg(&memory, 100, kPolicy, nullptr); },
      [&] { return aclrtFreeWithDevSync(memory); });
  ASSERT_EQ(aclrtMalloc(&memory, 64, kPolicy), 0);
  char host[64] = {};
  constexpr auto kToDevice = ACL_MEMCPY_HOST_TO_DEVICE;
  Call("aclrtMemcpy", [&] { return aclrtMemcpy(memory, 64, host, 64, kToDevice); });
  Call("aclrtMemcpy2d", [&] { return aclrtMemcpy2d(memory, 8, host, 8, 8, 8, kToDevice); });
  Call("aclrtMemset", [&] { return aclrtMemset(memory, 64, 1, 64); });
  Call(
      "aclrtMemcpy2dAsync",
      [&] { return aclrtMemcpy2dAsync(memory, 8, host, 8, 8, 8, kToDevice, stream_); },
      [&] { return aclrtSynchronizeStream(stream_); });
  aclrtPtrAttributes attributes = {};
  Call("aclrtPointerGetAttributes", [&] { return aclrtPointerGetAttributes(memory, &attributes); });
  EXPECT_EQ(aclrtFree(memory), 0);
}

TEST_F(OutOfMemoryFunctions, StreamsAndEvents) {
  aclrtStream stream = nullptr;
  Call(
      "aclrtCreateStreamWithConfig",
      [&] { return aclrtCreateStreamWithConfig(&stream, 0, ACL_STREAM_FAST_LAUNCH); },
      [&] { return aclrtDestroyStream(stream); });
  Call("aclrtCtxGetCurrentDefaultStream", [&] { return aclrtCtxGetCurrentDefaultStream(&stream); });
  for (const auto create : {aclrtCreateEventWithFlag, aclrtCreateEventExWithFlag}) {
    aclrtEvent event = nullptr;
    Call(
        "aclrtCreateEventWithFlag", [&] { return create(&event, ACL_EVENT_SYNC); },
        [&] { return aclrtDestroyEvent(event); });
  }
  aclrtEvent event = nullptr;
  ASSERT_EQ(aclrtCreateEvent(&event), 0);
  ASSERT_EQ(aclrtRecordEvent(event, stream_), 0);
  Call(
      "aclrtStreamWaitEventWithTimeout",
      [&] { return aclrtStreamWaitEventWithTimeout(stream_, event, 1); },
      [&] { return aclrtSynchronizeStream(stream_); });
  Call("aclrtSynchronizeEvent", [&] { return aclrtSynchronizeEvent(event); });
  aclrtEventRecordedStatus recorded;
  Call("aclrtQueryEventStatus", [&] { return aclrtQueryEventStatus(event, &recorded); });
  EXPECT_EQ(aclrtDestroyEvent(event), 0);
  aclrtStreamStatus status;
  Call("aclrtStreamQuery", [&] { return aclrtStreamQuery(stream_, &status); });
  int32_t id = 0;
  Call("aclrtStreamGetId", [&] { return aclrtStreamGetId(stream_, &id); });
  Call("aclrtSynchronizeStreamWithTimeout",
       [&] { return aclrtSynchronizeStreamWithTimeout(stream_, 10'000); });
  Call("aclrtSynchronizeDevice", [] { return aclrtSynchronizeDevice(); });
  Call("aclrtSynchronizeDeviceWithTimeout",
       [] { return aclrtSynchronizeDeviceWithTimeout(10'000); });
}

// With zeros most fail, and it is the message that needs memory. None may end the program.
TEST_F(OutOfMemory, EveryFunctionWithZeros) {
  const std::set<std::string> ends = {"aclFinalize", "aclFinalizeReference", "aclnnFinalize",
                                      "aclrtResetDevice", "aclrtResetDeviceForce"};
  int functions = 0, needed_memory = 0;
  for (const std::string& name : ExportedNames()) {
    if (ends.count(name)) continue;
    SCOPED_TRACE(name);
    ++functions;
    for (int n = 1;; ++n) {
      FailAllocation(n);
      EXPECT_TRUE(CallWithZeros(name));
      const bool failed = StopFailing();
      TakeMessage();
      if (!failed) break;
      needed_memory += n == 1;
    }
  }
  EXPECT_EQ(functions, static_cast<int>(ExportedNames().size() - ends.size()));
  EXPECT_GT(needed_memory, 0);
  Case test;
  EXPECT_EQ(test.call.Run(stream_), 0) << TakeMessage();
  EXPECT_EQ(test.problem.Compare(), "");
}

}  // namespace
}  // namespace ropekv::testing
