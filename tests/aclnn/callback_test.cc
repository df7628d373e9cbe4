// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include <atomic>
#include <thread>

#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

struct Call {
  std::atomic<int> count{0};
  std::thread::id thread;
};

void Count(void* argument) {
  auto* call = static_cast<Call*>(argument);
  call->thread = std::this_thread::get_id();
  ++call->count;
}

class CallbackTest : public AclTest {
 protected:
  // A thread that serves stream_ until told to stop.
  class Server {
   public:
    explicit Server(aclrtStream stream) : stream_(stream), thread_([this] { Run(); }) {
      while (!ready_) std::this_thread::yield();
    }
    ~Server() {
      stop_ = true;
      thread_.join();
    }
    std::thread::id id() const { return thread_.get_id(); }

   private:
    void Run() {
      const auto self = static_cast<uint64_t>(pthread_self());
      EXPECT_EQ(aclrtSubscribeReport(self, stream_), 0);
      ready_ = true;
      while (!stop_) {
        const int code = aclrtProcessReport(5);
        EXPECT_TRUE(code == 0 || code == 107019) << code;
      }
      EXPECT_EQ(aclrtUnSubscribeReport(self, stream_), 0);
    }

    aclrtStream stream_;
    std::atomic<bool> ready_{false}, stop_{false};
    std::thread thread_;
  };
};

TEST_F(CallbackTest, HostFunctionRunsInOrderInAnotherThread) {
  Call call;
  ASSERT_EQ(aclrtLaunchHostFunc(stream_, Count, &call), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(call.count, 1);
  EXPECT_NE(call.thread, std::this_thread::get_id());
  ExpectFailure(aclrtLaunchHostFunc(stream_, nullptr, &call), 100000, "func");
  ExpectFailure(aclrtLaunchHostFunc(&call, Count, &call), 107017);
}

TEST_F(CallbackTest, RunsInTheServingThread) {
  Call call;
  Server server(stream_);
  for (const auto type : {ACL_CALLBACK_BLOCK, ACL_CALLBACK_NO_BLOCK}) {
    ASSERT_EQ(aclrtLaunchCallback(Count, &call, type, stream_), 0);
  }
  ASSERT_EQ(aclrtLaunchCallback(Count, &call, ACL_CALLBACK_BLOCK, stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(call.count, 3);
  EXPECT_EQ(call.thread, server.id());
}

void Sleep(void* argument) {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  Count(argument);
}

TEST_F(CallbackTest, BlockHoldsTheStream) {
  Server server(stream_);
  Call slow;
  ASSERT_EQ(aclrtLaunchCallback(Sleep, &slow, ACL_CALLBACK_BLOCK, stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(slow.count, 1);
  ASSERT_EQ(aclrtLaunchCallback(Sleep, &slow, ACL_CALLBACK_NO_BLOCK, stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(slow.count, 1) << "the stream did not wait";
  while (slow.count < 2) std::this_thread::yield();
}

TEST_F(CallbackTest, Subscriptions) {
  const auto self = static_cast<uint64_t>(pthread_self());
  Call call;
  ExpectFailure(aclrtLaunchCallback(Count, &call, ACL_CALLBACK_BLOCK, stream_), 107015, "serves");
  ExpectFailure(aclrtProcessReport(1), 107012);
  ExpectFailure(aclrtUnSubscribeReport(self, stream_), 107015);
  ASSERT_EQ(aclrtSubscribeReport(self, stream_), 0);
  ExpectFailure(aclrtSubscribeReport(self, stream_), 107011);
  ExpectFailure(aclrtUnSubscribeReport(self + 1, stream_), 107015);
  ExpectFailure(aclrtProcessReport(1), 107019, "1 ms");
  ExpectFailure(aclrtProcessReport(0), 107000);
  ExpectFailure(aclrtProcessReport(-2), 107000);
  ExpectFailure(aclrtLaunchCallback(nullptr, &call, ACL_CALLBACK_BLOCK, stream_), 100000, "fn");
  ExpectFailure(aclrtLaunchCallback(Count, &call, ACL_CALLBACK_BLOCK, &call), 107017);
  ExpectFailure(aclrtSubscribeReport(self, &call), 107017);
  ExpectFailure(aclrtUnSubscribeReport(self, &call), 107017);
  ASSERT_EQ(aclrtLaunchCallback(Count, &call, ACL_CALLBACK_BLOCK, stream_), 0);
  EXPECT_EQ(aclrtProcessReport(-1), 0);
  EXPECT_EQ(call.count, 1);
  // A blocked stream is freed when nobody serves it any longer.
  ASSERT_EQ(aclrtLaunchCallback(Count, &call, ACL_CALLBACK_BLOCK, stream_), 0);
  EXPECT_EQ(aclrtUnSubscribeReport(self, stream_), 0);
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(call.count, 1);
}

// A thread that waits without a limit comes back when its last stream is taken away.
TEST_F(CallbackTest, UnsubscribingEndsTheWait) {
  std::atomic<uint64_t> server{0};
  std::thread thread([&] {
    server = static_cast<uint64_t>(pthread_self());
    while (aclrtProcessReport(-1) == 107012) std::this_thread::yield();  // not subscribed yet
    ExpectFailure(aclrtProcessReport(-1), 107012, "serves no stream");
  });
  while (server == 0) std::this_thread::yield();
  Call call;
  ASSERT_EQ(aclrtSubscribeReport(server, stream_), 0);
  ASSERT_EQ(aclrtLaunchCallback(Count, &call, ACL_CALLBACK_BLOCK, stream_), 0);
  ASSERT_EQ(aclrtSynchronizeStream(stream_), 0);
  EXPECT_EQ(call.count, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_EQ(aclrtUnSubscribeReport(server, stream_), 0);
  thread.join();
}

std::atomic<int> exceptions{0};

TEST_F(CallbackTest, ExceptionCallbackHearsOfFailedTasks) {
  ASSERT_EQ(aclrtSetExceptionInfoCallback(
                [](aclrtExceptionInfo* info) { exceptions += info != nullptr; }),
            0);
  Case bad, good;
  SpoilIndices(bad);
  EXPECT_EQ(good.call.Run(stream_), 0);
  EXPECT_EQ(exceptions, 0);
  EXPECT_EQ(bad.call.Run(stream_), 507035);
  EXPECT_EQ(exceptions, 1);
  EXPECT_EQ(aclrtSetExceptionInfoCallback(nullptr), 0);
  EXPECT_EQ(bad.call.Run(stream_), 507035);
  EXPECT_EQ(exceptions, 1);
  TakeMessage();
}

}  // namespace
}  // namespace ropekv::testing
