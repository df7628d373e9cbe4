// SPDX-License-Identifier: Apache-2.0
// Order, independence, failures and ends of streams.
#include <mutex>
#include <thread>
#include <vector>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

class StreamTest : public AclTest {};

struct Log {
  std::mutex mutex;
  std::vector<int> entries;
};

struct LogEntry {
  Log* log;
  int value;
};

void Append(void* argument) {
  const auto* entry = static_cast<LogEntry*>(argument);
  const std::lock_guard lock(entry->log->mutex);
  entry->log->entries.push_back(entry->value);
}

TEST_F(StreamTest, BusyStreamQueuesAndKeepsOrder) {
  Log log;
  std::vector<LogEntry> entries;
  for (int i = 0; i < 100; ++i) entries.push_back({&log, i});
  Gate gate(stream_);
  for (LogEntry& entry : entries) ASSERT_EQ(aclrtLaunchHostFunc(stream_, Append, &entry), 0);
  aclrtStreamStatus status = ACL_STREAM_STATUS_COMPLETE;
  EXPECT_EQ(aclrtStreamQuery(stream_, &status), 0);
  EXPECT_EQ(status, ACL_STREAM_STATUS_NOT_READY);
  gate.Open();
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(aclrtStreamQuery(stream_, &status), 0);
  EXPECT_EQ(status, ACL_STREAM_STATUS_COMPLETE);
  ASSERT_EQ(log.entries.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(log.entries[static_cast<size_t>(i)], i);
}

TEST_F(StreamTest, PhaseTwoReturnsBeforeQueuedWorkIsDone) {
  Case test;
  Gate gate(stream_);
  ASSERT_EQ(test.call.Prepare(), 0);
  ASSERT_EQ(test.call.Launch(stream_), 0);
  EXPECT_EQ(test.problem.CompareUntouched(), "");
  gate.Open();
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(test.problem.Compare(), "");
}

TEST_F(StreamTest, StreamsRunSideBySide) {
  Case test;
  aclrtStream other = nullptr;
  ASSERT_EQ(aclrtCreateStreamWithConfig(&other, 3, ACL_STREAM_FAST_LAUNCH), 0);
  Gate gate(stream_);
  ASSERT_EQ(test.call.Run(other), 0);
  EXPECT_EQ(test.problem.Compare(), "");
  gate.Open();
  EXPECT_EQ(aclrtDestroyStream(other), 0);
}

TEST_F(StreamTest, NullIsTheDefaultStreamOfTheContext) {
  aclrtStream named = nullptr;
  ASSERT_EQ(aclrtCtxGetCurrentDefaultStream(&named), 0);
  ExpectFailure(aclrtCtxGetCurrentDefaultStream(nullptr), 100000);
  int32_t id_of_null = -1, id_of_named = -2;
  ASSERT_EQ(aclrtStreamGetId(nullptr, &id_of_null), 0);
  ASSERT_EQ(aclrtStreamGetId(named, &id_of_named), 0);
  EXPECT_EQ(id_of_null, id_of_named);
  Gate gate(named);
  ExpectFailure(aclrtSynchronizeStreamWithTimeout(nullptr, 5), 507046);
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeStream(nullptr), 0);
  EXPECT_EQ(aclrtSynchronizeStreamWithTimeout(nullptr, -1), 0);
  ExpectFailure(aclrtDestroyStream(nullptr), 100000, "null");
  ExpectFailure(aclrtDestroyStreamForce(nullptr), 100000, "null");
  ExpectFailure(aclrtDestroyStream(named), 107000, "default stream");
}

TEST_F(StreamTest, WithoutContext) {
  std::thread([&] {
    aclrtStream stream = nullptr;
    ExpectFailure(aclrtCreateStream(&stream), 107002, "context");
    ExpectFailure(aclrtSynchronizeStream(nullptr), 107002);
    Case test;
    ASSERT_EQ(test.call.Prepare(), 0);
    ExpectFailure(test.call.Launch(nullptr), 361001, "107002");
    EXPECT_EQ(aclrtSynchronizeStream(stream_), 0) << "a named stream needs none";
  }).join();
}

TEST_F(StreamTest, BadArguments) {
  int32_t id;
  aclrtStreamStatus status;
  ExpectFailure(aclrtCreateStream(nullptr), 100000, "stream");
  ExpectFailure(aclrtCreateStreamWithConfig(nullptr, 0, 0), 100000, "stream");
  ExpectFailure(aclrtStreamQuery(stream_, nullptr), 100000, "status");
  ExpectFailure(aclrtStreamGetId(stream_, nullptr), 100000, "streamId");
  ExpectFailure(aclrtSynchronizeStreamWithTimeout(stream_, -2), 107000, "timeout");
  ExpectFailure(aclrtSetStreamFailureMode(stream_, 2), 107000, "mode");
  void* foreign = &id;
  ExpectFailure(aclrtSynchronizeStream(foreign), 107017);
  ExpectFailure(aclrtSynchronizeStreamWithTimeout(foreign, 1), 107017);
  ExpectFailure(aclrtDestroyStream(foreign), 107017);
  ExpectFailure(aclrtDestroyStreamForce(foreign), 107017);
  ExpectFailure(aclrtStreamQuery(foreign, &status), 107017);
  ExpectFailure(aclrtStreamGetId(foreign, &id), 107017);
  ExpectFailure(aclrtSetStreamFailureMode(foreign, 0), 107017);
}

TEST_F(StreamTest, DestroyWaitsAndForceDrops) {
  Log log;
  LogEntry entry{&log, 7};
  aclrtStream stream = nullptr;
  ASSERT_EQ(aclrtCreateStream(&stream), 0);
  {
    Gate gate(stream);
    ASSERT_EQ(aclrtLaunchHostFunc(stream, Append, &entry), 0);
    std::thread opener([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      gate.Open();
    });
    EXPECT_EQ(aclrtDestroyStream(stream), 0);
    EXPECT_EQ(log.entries.size(), 1u);
    opener.join();
  }
  ExpectFailure(aclrtDestroyStream(stream), 107017);
  ExpectFailure(aclrtSynchronizeStream(stream), 107017);

  ASSERT_EQ(aclrtCreateStream(&stream), 0);
  aclrtEvent never = nullptr, behind = nullptr;
  ASSERT_EQ(aclrtCreateEvent(&never), 0);
  ASSERT_EQ(aclrtCreateEvent(&behind), 0);
  ASSERT_EQ(aclrtStreamWaitEvent(stream, never), 0);
  ASSERT_EQ(aclrtLaunchHostFunc(stream, Append, &entry), 0);
  ASSERT_EQ(aclrtRecordEvent(behind, stream), 0);
  EXPECT_EQ(aclrtDestroyStreamForce(stream), 0);
  EXPECT_EQ(log.entries.size(), 1u) << "dropped";
  EXPECT_EQ(aclrtSynchronizeEvent(behind), 0) << "nobody waits for a dropped recording";
  EXPECT_EQ(aclrtDestroyEvent(never), 0);
  EXPECT_EQ(aclrtDestroyEvent(behind), 0);
}

TEST_F(StreamTest, ContinuesAfterAFailureUnlessToldToStop) {
  for (const bool stop : {false, true}) {
    aclrtStream stream = nullptr;
    ASSERT_EQ(aclrtCreateStream(&stream), 0);
    ASSERT_EQ(aclrtSetStreamFailureMode(stream, stop), 0);
    ExpectFailure(aclrtSetStreamFailureMode(stream, stop), 107000, "before");
    Case bad(1), good(2);
    SpoilIndices(bad);
    ASSERT_EQ(bad.call.Prepare(), 0);
    ASSERT_EQ(good.call.Prepare(), 0);
    aclrtEvent event = nullptr;
    ASSERT_EQ(aclrtCreateEvent(&event), 0);
    {
      Gate gate(stream);
      ASSERT_EQ(bad.call.Launch(stream), 0);
      ASSERT_EQ(good.call.Launch(stream), 0);
      ASSERT_EQ(aclrtRecordEvent(event, stream), 0);
    }
    ExpectFailure(aclrtSynchronizeEvent(event), 507035, "indices");
    ExpectFailure(aclrtSynchronizeStream(stream), 507035, "64");
    EXPECT_EQ(bad.problem.CompareUntouched(), "");
    EXPECT_EQ(stop ? good.problem.CompareUntouched() : good.problem.Compare(), "");
    // A stopped stream keeps saying so.
    EXPECT_EQ(aclrtSynchronizeStream(stream), stop ? 507035 : 0);
    EXPECT_EQ(aclrtDestroyEvent(event), 0);
    EXPECT_EQ(aclrtDestroyStream(stream), 0);
  }
}

TEST_F(StreamTest, ExemptStreamsAreNotWaitedFor) {
  aclrtStream stream = nullptr;
  ASSERT_EQ(aclrtCreateStreamWithConfig(&stream, 0, ACL_STREAM_PERSISTENT), 0);
  Gate gate(stream);
  EXPECT_EQ(aclrtSynchronizeStream(stream), 0);
  gate.Open();
  EXPECT_EQ(aclrtDestroyStream(stream), 0);
}

TEST_F(StreamTest, DeviceSynchroniseCoversAllStreams) {
  Case bad;
  SpoilIndices(bad);
  ASSERT_EQ(bad.call.Prepare(), 0);
  Gate gate(stream_);
  ASSERT_EQ(bad.call.Launch(stream_), 0);
  ExpectFailure(aclrtSynchronizeDeviceWithTimeout(5), 507046);
  ExpectFailure(aclrtSynchronizeDeviceWithTimeout(-2), 107000);
  gate.Open();
  ExpectFailure(aclrtSynchronizeDevice(), 507035, "indices");
  EXPECT_EQ(aclrtSynchronizeDevice(), 0);
  EXPECT_EQ(aclrtSynchronizeDeviceWithTimeout(-1), 0);
}

// One token, again and again, and no cache row for it: work without memory.
Spec ManyTokens(int64_t tokens) {
  Shape shape = PagedShape(tokens);
  shape.num_q_heads = 0;
  Spec spec = AscendSpec(shape);
  for (TensorSpec* tensor : {&spec.x, &spec.cos, &spec.sin, &spec.indices}) tensor->stride[0] = 0;
  return spec;
}

TEST_F(StreamTest, OpTimeLimit) {
  const std::vector<int32_t> data(4 * 16 * 64, -1);  // as an index: padding
  Args args;
  for (const TensorField& field : kTensorFields) {
    if (field.input) args.*field.input = data.data();
  }
  std::vector<int8_t> k_cache(4 * 16 * 64), v_cache(k_cache);
  args.k_cache = k_cache.data();
  args.v_cache = v_cache.data();
  ASSERT_EQ(aclrtSetOpExecuteTimeOut(1), 0);
  int code = 0;
  for (int64_t tokens = 1 << 16; code == 0 && tokens < int64_t{1} << 40; tokens *= 2) {
    TakeMessage();
    AclCall call(ManyTokens(tokens), args);
    code = call.Run(stream_);
  }
  EXPECT_EQ(aclrtSetOpExecuteTimeOut(0), 0);
  ExpectFailure(code, 507034, "longer than 1 s");
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
}

// Many threads, one stream each, and one that all share.
TEST_F(StreamTest, OrderUnderLoad) {
  constexpr int kThreads = 6, kTasks = 400;
  aclrtContext context = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&context), 0);
  Log shared;
  std::vector<std::thread> threads;
  std::vector<std::vector<LogEntry>> shared_entries(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ASSERT_EQ(aclrtSetCurrentContext(context), 0);
      aclrtStream own = nullptr;
      ASSERT_EQ(aclrtCreateStream(&own), 0);
      Log log;
      std::vector<LogEntry> entries;
      for (int i = 0; i < kTasks; ++i) {
        entries.push_back({&log, i});
        shared_entries[static_cast<size_t>(t)].push_back({&shared, t * kTasks + i});
      }
      for (int i = 0; i < kTasks; ++i) {
        const auto at = static_cast<size_t>(i);
        ASSERT_EQ(aclrtLaunchHostFunc(own, Append, &entries[at]), 0);
        ASSERT_EQ(aclrtLaunchHostFunc(stream_, Append, &shared_entries[static_cast<size_t>(t)][at]),
                  0);
        if (i % 64 == 0) {
          ASSERT_EQ(aclrtSynchronizeStream(own), 0);
        }
      }
      ASSERT_EQ(aclrtDestroyStream(own), 0);
      for (int i = 0; i < kTasks; ++i) EXPECT_EQ(log.entries[static_cast<size_t>(i)], i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  // What one thread submitted stays in its order.
  std::vector<int> next(kThreads, 0);
  for (const int value : shared.entries) {
    int& expected = next[static_cast<size_t>(value / kTasks)];
    EXPECT_EQ(value % kTasks, expected);
    ++expected;
  }
  for (const int count : next) EXPECT_EQ(count, kTasks);
}

}  // namespace
}  // namespace ropekv::testing
