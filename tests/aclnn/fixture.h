// SPDX-License-Identifier: Apache-2.0
// What most tests of the runtime need: a device, streams that are held up, a call that can be
// checked.
#ifndef ROPEKV_TESTS_ACLNN_FIXTURE_H_
#define ROPEKV_TESTS_ACLNN_FIXTURE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "aclnn/call.h"
#include "support/problem.h"

namespace ropekv::testing {

class AclTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
    ASSERT_EQ(aclrtCreateStream(&stream_), ACL_SUCCESS);
    TakeMessage();
  }
  void TearDown() override {
    EXPECT_EQ(aclrtDestroyStream(stream_), ACL_SUCCESS);
    EXPECT_EQ(aclrtResetDevice(0), ACL_SUCCESS);
  }

  aclrtStream stream_ = nullptr;
};

// Holds a stream up until it is opened, so that what is submitted behind it stays queued.
class Gate {
 public:
  explicit Gate(aclrtStream stream) {
    EXPECT_EQ(aclrtLaunchHostFunc(stream, &Gate::Wait, this), ACL_SUCCESS);
  }
  // Opens it and waits until the stream is past it.
  ~Gate() {
    Open();
    while (!passed_) Nap();
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void Open() { open_ = true; }
  // Until the stream has come to it.
  void WaitUntilReached() const {
    while (!reached_) Nap();
  }

 private:
  static void Nap() { std::this_thread::sleep_for(std::chrono::microseconds(100)); }
  static void Wait(void* self) {
    auto* gate = static_cast<Gate*>(self);
    gate->reached_ = true;
    while (!gate->open_) Nap();
    gate->passed_ = true;
  }
  std::atomic<bool> reached_{false};
  std::atomic<bool> open_{false};
  std::atomic<bool> passed_{false};
};

// `code` and a message with `text` in it.
inline void ExpectFailure(int found, int code, const std::string& text = "") {
  EXPECT_EQ(found, code);
  const std::string message = TakeMessage();
  EXPECT_NE(message.find(std::to_string(code)), std::string::npos) << "message: " << message;
  EXPECT_NE(message.find(text), std::string::npos) << "message: " << message;
}

// A small legal call, B tokens of bf16 in pages; slots 0 to B-1.
inline Shape PagedShape(int64_t tokens = 4) {
  return {.batch = tokens,
          .num_q_heads = 4,
          .num_kv_heads = 2,
          .head_dim = 32,
          .cache_layout = CacheLayout::kPaged,
          .cache_shape = {4, 16}};
}

inline Spec PagedSpec(int64_t tokens = 4) { return AscendSpec(PagedShape(tokens)); }

// A call with its data and the expected result.
struct Case {
  explicit Case(uint64_t seed = 1, const Spec& spec = PagedSpec())
      : problem(spec, Flavour::kPlain, seed), call(spec, problem.actual()) {
    const Result<Plan> plan = MakePlan(spec);
    EXPECT_TRUE(plan.ok() && RunReference(*plan, problem.expected()).ok());
  }
  Problem problem;
  AclCall call;
};

// Makes a case fail when it runs.
inline void SpoilIndices(Case& bad) {
  auto* indices = static_cast<int32_t*>(bad.problem.MutableInput(TensorId::kIndices));
  indices[1] = 64;  // there are slots 0 to 63
  bad.call.Replace(TensorId::kIndices, bad.problem.spec().indices, indices);
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_ACLNN_FIXTURE_H_
