// SPDX-License-Identifier: Apache-2.0
// Streams, events, tasks and contexts when memory runs out: nothing leaks, hangs or ends half-way.
#include <pthread.h>

#include <optional>

#include "aclnn/out_of_memory.h"

namespace ropekv::testing {
namespace {

TEST_F(OutOfMemory, ContextsAndStreams) {
  aclrtContext before = nullptr, context = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&before), 0);
  FailEach(
      "aclrtCreateContext", [&] { return aclrtCreateContext(&context, 0); },
      [&] { return aclrtDestroyContext(context) + aclrtSetCurrentContext(before); });
  ASSERT_EQ(aclrtDestroyStream(stream_), 0);
  ASSERT_EQ(aclrtResetDeviceForce(0), 0);
  FailEach(
      "aclrtSetDevice", [&] { return aclrtSetDevice(0); }, [&] { return aclrtResetDevice(0); });
  ASSERT_EQ(aclrtSetDevice(0), 0);
  FailEach(
      "aclrtCreateStream", [&] { return aclrtCreateStream(&stream_); },
      [&] { return aclrtDestroyStream(stream_); });
  ASSERT_EQ(aclrtCreateStream(&stream_), 0);
}

// Ends of streams and devices need no memory.
TEST_F(OutOfMemory, EndsDoNotFail) {
  aclrtContext before = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&before), 0);
  const auto without_memory = [](auto call) {
    FailAllocation(1);
    const int code = call();
    EXPECT_FALSE(StopFailing());
    EXPECT_EQ(code, 0) << TakeMessage();
  };
  aclrtStream stream = nullptr;
  aclrtEvent event = nullptr;
  aclrtContext context = nullptr;
  for (const auto destroy : {aclrtDestroyStream, aclrtDestroyStreamForce}) {
    ASSERT_EQ(aclrtCreateStream(&stream), 0);
    { const Gate gate(stream); }
    without_memory([&] { return aclrtSynchronizeStream(stream); });
    without_memory([&] { return destroy(stream); });
  }
  ASSERT_EQ(aclrtCreateEvent(&event), 0);
  without_memory([&] { return aclrtDestroyEvent(event); });
  ASSERT_EQ(aclrtCreateContext(&context, 0), 0);
  ASSERT_EQ(aclrtCreateStream(&stream), 0);
  without_memory([&] { return aclrtDestroyContext(context); });
  ASSERT_EQ(aclrtSetCurrentContext(before), 0);
}

TEST_F(OutOfMemory, Events) {
  aclrtEvent event = nullptr;
  FailEach(
      "aclrtCreateEvent", [&] { return aclrtCreateEvent(&event); },
      [&] { return aclrtDestroyEvent(event); });
  ASSERT_EQ(aclrtCreateEvent(&event), 0);
  FailEach("aclrtRecordEvent", [&] {
    const int code = aclrtRecordEvent(event, stream_);
    // A recording that failed is not one that others wait for.
    EXPECT_EQ(aclrtSynchronizeEventWithTimeout(event, 1'000), 0);
    return code;
  });
  EXPECT_EQ(aclrtDestroyEvent(event), 0);
}

// What each call leaves in the queue of a stream that is held up.
TEST_F(OutOfMemory, QueuedTasks) {
  std::optional<Gate> gate;
  const auto close = [&] {
    gate.emplace(stream_);
    gate->WaitUntilReached();  // and is no longer queued itself
  };
  const auto run = [&] {
    gate.reset();
    const int code = aclrtSynchronizeStream(stream_);
    close();
    return code;
  };
  close();
  aclrtEvent event = nullptr, never = nullptr;
  ASSERT_EQ(aclrtCreateEvent(&event), 0);
  ASSERT_EQ(aclrtCreateEvent(&never), 0);
  void* memory[2] = {};
  for (void*& block : memory) ASSERT_EQ(aclrtMalloc(&block, 64, ACL_MEM_MALLOC_HUGE_FIRST), 0);
  FailEach(
      "aclrtRecordEvent", [&] { return aclrtRecordEvent(event, stream_); }, run);
  FailEach(
      "aclrtResetEvent", [&] { return aclrtResetEvent(event, stream_); }, run);
  FailEach(
      "aclrtStreamWaitEvent", [&] { return aclrtStreamWaitEvent(stream_, never); },
      [&] { return aclrtDestroyEvent(never) + aclrtCreateEvent(&never) + run(); });
  FailEach(
      "aclrtLaunchHostFunc",
      [&] {
        return aclrtLaunchHostFunc(
            stream_, [](void*) {}, nullptr);
      },
      run);
  FailEach(
      "aclrtMemsetAsync", [&] { return aclrtMemsetAsync(memory[0], 64, 1, 64, stream_); }, run);
  FailEach(
      "aclrtMemcpyAsync",
      [&] {
        return aclrtMemcpyAsync(memory[0], 64, memory[1], 64, ACL_MEMCPY_DEVICE_TO_DEVICE, stream_);
      },
      run);
  gate.reset();
  for (void* block : memory) EXPECT_EQ(aclrtFree(block), 0);
  EXPECT_EQ(aclrtDestroyEvent(event), 0);
  EXPECT_EQ(aclrtDestroyEvent(never), 0);
}

TEST_F(OutOfMemory, Callbacks) {
  const auto thread = static_cast<uint64_t>(pthread_self());
  const auto nothing = [](void*) {};
  ASSERT_EQ(aclrtSubscribeReport(thread, stream_), 0);
  FailEach(
      "aclrtLaunchCallback",
      [&] {
        const int code = aclrtLaunchCallback(nothing, nullptr, ACL_CALLBACK_NO_BLOCK, stream_);
        return code ? code : aclrtSynchronizeStream(stream_);
      },
      [] { return aclrtProcessReport(10'000); });
  ASSERT_EQ(aclrtUnSubscribeReport(thread, stream_), 0);
  FailEach(
      "aclrtSubscribeReport", [&] { return aclrtSubscribeReport(thread, stream_); },
      [&] { return aclrtUnSubscribeReport(thread, stream_); });
  ExpectFailure(aclrtUnSubscribeReport(thread, stream_), 107015);
}

}  // namespace
}  // namespace ropekv::testing
