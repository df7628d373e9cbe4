// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

class EventTest : public AclTest {
 protected:
  void SetUp() override {
    AclTest::SetUp();
    ASSERT_EQ(aclrtCreateStream(&other_), ACL_SUCCESS);
    ASSERT_EQ(aclrtCreateEvent(&event_), ACL_SUCCESS);
  }
  void TearDown() override {
    EXPECT_EQ(aclrtDestroyEvent(event_), ACL_SUCCESS);
    EXPECT_EQ(aclrtDestroyStream(other_), ACL_SUCCESS);
    AclTest::TearDown();
  }

  // The three queries, which must agree.
  bool IsComplete(aclrtEvent event) {
    aclrtEventStatus status;
    aclrtEventRecordedStatus recorded;
    EXPECT_EQ(aclrtQueryEvent(event, &status), 0);
    EXPECT_EQ(aclrtQueryEventStatus(event, &recorded), 0);
    EXPECT_EQ(status == ACL_EVENT_STATUS_COMPLETE, recorded == ACL_EVENT_RECORDED_STATUS_COMPLETE);
    return status == ACL_EVENT_STATUS_COMPLETE;
  }

  aclrtStream other_ = nullptr;
  aclrtEvent event_ = nullptr;
};

TEST_F(EventTest, CapturesWhatWasSubmittedBefore) {
  EXPECT_FALSE(IsComplete(event_));
  Gate gate(stream_);
  ASSERT_EQ(aclrtRecordEvent(event_, stream_), 0);
  EXPECT_FALSE(IsComplete(event_));
  ExpectFailure(aclrtSynchronizeEventWithTimeout(event_, 5), 507047);
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeEvent(event_), 0);
  EXPECT_TRUE(IsComplete(event_));
  EXPECT_EQ(aclrtSynchronizeEventWithTimeout(event_, 0), 0);
}

TEST_F(EventTest, ExEventsAreCompleteUntilRecorded) {
  aclrtEvent ex = nullptr;
  ASSERT_EQ(aclrtCreateEventExWithFlag(&ex, ACL_EVENT_SYNC), 0);
  EXPECT_TRUE(IsComplete(ex));
  EXPECT_EQ(aclrtSynchronizeEvent(ex), 0);
  EXPECT_EQ(aclrtStreamWaitEvent(stream_, ex), 0);
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
  Gate gate(stream_);
  ASSERT_EQ(aclrtRecordEvent(ex, stream_), 0);
  EXPECT_FALSE(IsComplete(ex));
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeEvent(ex), 0);
  float ms = 0;
  ExpectFailure(aclrtEventElapsedTime(&ms, ex, ex), 107006, "TIME_LINE");
  EXPECT_EQ(aclrtDestroyEvent(ex), 0);
}

TEST_F(EventTest, OrdersStreams) {
  Case test;
  ASSERT_EQ(test.call.Prepare(), 0);
  Gate gate(stream_);
  ASSERT_EQ(aclrtRecordEvent(event_, stream_), 0);
  ASSERT_EQ(aclrtStreamWaitEvent(other_, event_), 0);
  ASSERT_EQ(test.call.Launch(other_), 0);
  aclrtEventWaitStatus waits;
  EXPECT_EQ(aclrtQueryEventWaitStatus(event_, &waits), 0);
  EXPECT_EQ(waits, ACL_EVENT_WAIT_STATUS_NOT_READY);
  ExpectFailure(aclrtSynchronizeStreamWithTimeout(other_, 10), 507046);
  EXPECT_EQ(test.problem.CompareUntouched(), "");
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeStream(other_), 0);
  EXPECT_EQ(test.problem.Compare(), "");
  EXPECT_EQ(aclrtQueryEventWaitStatus(event_, &waits), 0);
  EXPECT_EQ(waits, ACL_EVENT_WAIT_STATUS_COMPLETE);
}

// A plain event may be waited for before it is recorded.
TEST_F(EventTest, WaitBeforeRecord) {
  ASSERT_EQ(aclrtStreamWaitEvent(other_, event_), 0);
  ExpectFailure(aclrtSynchronizeStreamWithTimeout(other_, 5), 507046);
  ASSERT_EQ(aclrtRecordEvent(event_, stream_), 0);
  EXPECT_EQ(aclrtSynchronizeStream(other_), 0);
}

// Even then, the host hears what had gone wrong before the event.
TEST_F(EventTest, SynchroniseBeforeRecordReportsTheFailure) {
  Case bad;
  SpoilIndices(bad);
  ASSERT_EQ(bad.call.Prepare(), 0);
  std::thread waiter([this] { ExpectFailure(aclrtSynchronizeEvent(event_), 507035, "indices"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(bad.call.Launch(stream_), 0);
  EXPECT_EQ(aclrtRecordEvent(event_, stream_), 0);
  waiter.join();
  ExpectFailure(aclrtSynchronizeStream(stream_), 507035);
}

TEST_F(EventTest, ResetMakesItRecordableAnew) {
  ASSERT_EQ(aclrtRecordEvent(event_, stream_), 0);
  ASSERT_EQ(aclrtStreamWaitEvent(other_, event_), 0);
  ASSERT_EQ(aclrtResetEvent(event_, other_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(other_), 0);
  EXPECT_FALSE(IsComplete(event_));
  ASSERT_EQ(aclrtRecordEvent(event_, stream_), 0);
  EXPECT_EQ(aclrtSynchronizeEvent(event_), 0);
}

TEST_F(EventTest, WaitLimits) {
  Gate gate(stream_);
  ASSERT_EQ(aclrtRecordEvent(event_, stream_), 0);
  ASSERT_EQ(aclrtStreamWaitEventWithTimeout(other_, event_, 1), 0);
  ExpectFailure(aclrtSynchronizeStream(other_), 507047, "1 s");
  ASSERT_EQ(aclrtSetOpWaitTimeout(1), 0);
  ASSERT_EQ(aclrtStreamWaitEvent(other_, event_), 0);
  EXPECT_EQ(aclrtSetOpWaitTimeout(0), 0);
  ExpectFailure(aclrtSynchronizeStream(other_), 507047);
  gate.Open();
}

TEST_F(EventTest, DestroyDoesNotWait) {
  aclrtEvent early = nullptr, never = nullptr;
  ASSERT_EQ(aclrtCreateEvent(&early), 0);
  ASSERT_EQ(aclrtCreateEventWithFlag(&never, ACL_EVENT_SYNC), 0);
  Gate gate(stream_);
  ASSERT_EQ(aclrtRecordEvent(early, stream_), 0);
  ASSERT_EQ(aclrtStreamWaitEvent(other_, early), 0);
  ASSERT_EQ(aclrtStreamWaitEvent(other_, never), 0);
  EXPECT_EQ(aclrtDestroyEvent(early), 0);
  EXPECT_EQ(aclrtDestroyEvent(never), 0);
  gate.Open();
  EXPECT_EQ(aclrtSynchronizeStream(other_), 0);
  ExpectFailure(aclrtRecordEvent(early, stream_), 107017);
  ExpectFailure(aclrtDestroyEvent(early), 107017);
}

TEST_F(EventTest, Times) {
  aclrtEvent end = nullptr;
  ASSERT_EQ(aclrtCreateEventWithFlag(&end, ACL_EVENT_TIME_LINE), 0);
  float ms = -1;
  uint64_t stamp = 0;
  ExpectFailure(aclrtEventElapsedTime(&ms, event_, end), 107006, "startEvent");
  ExpectFailure(aclrtEventGetTimestamp(event_, &stamp), 107006);
  ASSERT_EQ(aclrtRecordEvent(event_, stream_), 0);
  {
    Gate gate(stream_);
    ASSERT_EQ(aclrtRecordEvent(end, stream_), 0);
    ExpectFailure(aclrtEventElapsedTime(&ms, event_, end), 507006, "endEvent");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  ASSERT_EQ(aclrtEventElapsedTime(&ms, event_, end), 0);
  EXPECT_GE(ms, 20.0f);
  EXPECT_LT(ms, 10000.0f);
  ExpectFailure(aclrtEventElapsedTime(&ms, end, event_), 107007);
  uint64_t end_stamp = 0;
  ASSERT_EQ(aclrtEventGetTimestamp(event_, &stamp), 0);
  ASSERT_EQ(aclrtEventGetTimestamp(end, &end_stamp), 0);
  EXPECT_GE(end_stamp - stamp, 20'000u);
  EXPECT_EQ(aclrtDestroyEvent(end), 0);
}

TEST_F(EventTest, BadArguments) {
  aclrtEventStatus status;
  aclrtEventRecordedStatus recorded;
  aclrtEventWaitStatus waits;
  float ms;
  uint64_t stamp;
  aclrtEvent event;
  ExpectFailure(aclrtCreateEvent(nullptr), 100000);
  ExpectFailure(aclrtCreateEventWithFlag(nullptr, ACL_EVENT_SYNC), 100000);
  ExpectFailure(aclrtCreateEventExWithFlag(nullptr, ACL_EVENT_SYNC), 100000);
  ExpectFailure(aclrtCreateEventWithFlag(&event, 0x80), 107000, "flag");
  ExpectFailure(aclrtCreateEventExWithFlag(&event, 0), 107000, "flag");
  for (void* bad : {static_cast<void*>(nullptr), static_cast<void*>(&event), stream_}) {
    const int code = bad ? 107017 : 100000;
    ExpectFailure(aclrtDestroyEvent(bad), code);
    ExpectFailure(aclrtRecordEvent(bad, stream_), code);
    ExpectFailure(aclrtResetEvent(bad, stream_), code);
    ExpectFailure(aclrtStreamWaitEvent(stream_, bad), code);
    ExpectFailure(aclrtStreamWaitEventWithTimeout(stream_, bad, 1), code);
    ExpectFailure(aclrtSynchronizeEvent(bad), code);
    ExpectFailure(aclrtSynchronizeEventWithTimeout(bad, 1), code);
    ExpectFailure(aclrtQueryEvent(bad, &status), code);
    ExpectFailure(aclrtQueryEventStatus(bad, &recorded), code);
    ExpectFailure(aclrtQueryEventWaitStatus(bad, &waits), code);
    ExpectFailure(aclrtEventElapsedTime(&ms, bad, event_), code);
    ExpectFailure(aclrtEventElapsedTime(&ms, event_, bad), code);
    ExpectFailure(aclrtEventGetTimestamp(bad, &stamp), code);
  }
  ExpectFailure(aclrtRecordEvent(event_, &event), 107017, "stream");
  ExpectFailure(aclrtResetEvent(event_, &event), 107017);
  ExpectFailure(aclrtStreamWaitEvent(&event, event_), 107017);
  ExpectFailure(aclrtStreamWaitEventWithTimeout(stream_, event_, -1), 107000, "timeout");
  ExpectFailure(aclrtSynchronizeEventWithTimeout(event_, -2), 107000, "timeout");
  ExpectFailure(aclrtQueryEvent(event_, nullptr), 100000);
  ExpectFailure(aclrtQueryEventStatus(event_, nullptr), 100000);
  ExpectFailure(aclrtQueryEventWaitStatus(event_, nullptr), 100000);
  ExpectFailure(aclrtEventElapsedTime(nullptr, event_, event_), 100000);
  ExpectFailure(aclrtEventGetTimestamp(event_, nullptr), 100000);
}

}  // namespace
}  // namespace ropekv::testing
