// SPDX-License-Identifier: Apache-2.0
// Run inside a caller's own scheduler: its threads may help with this call, but a thread that waits
// in Run never begins a task of the caller's.
#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "support/problem.h"
#include "support/share.h"

namespace ropekv::testing {
namespace {

constexpr int kSlots = 6;
constexpr int kTasks = 6000;

// A call of several parts, on buffers of its own.
class Call {
 public:
  Call()
      : problem_(DenseSpec({.batch = 6000,
                            .num_q_heads = 4,
                            .num_kv_heads = 1,
                            .head_dim = 64,
                            .cache_layout = CacheLayout::kPaged,
                            .cache_shape = {375, 16}}),
                 Flavour::kPlain, 1),
        plan_(MakePlan(problem_.spec()).value()) {
    EXPECT_TRUE(RunReference(plan_, problem_.expected()).ok());
  }

  bool Run(int num_threads) {
    return ropekv::Run(plan_, problem_.actual(), {.num_threads = num_threads}).ok();
  }
  std::string Compare() const { return problem_.Compare(); }

 private:
  Problem problem_;
  Plan plan_;
};

// Runs kTasks tasks in an arena of more slots than this machine may have processors.
template <class Task>
void InArena(const Task& task) {
  const oneapi::tbb::global_control control(oneapi::tbb::global_control::max_allowed_parallelism,
                                            kSlots);
  oneapi::tbb::task_arena arena(kSlots);
  arena.execute([&] {
    // Tasks of one, so that there is always one to be begun.
    oneapi::tbb::parallel_for(0, static_cast<int>(Share(kTasks)), task,
                              oneapi::tbb::simple_partitioner());
  });
}

thread_local bool inside = false;

Call& CallOfThisThread() {
  thread_local Call call;
  return call;
}

TEST(Isolation, NoTaskBeginsInsideRun) {
  std::atomic<int> begun_inside{0}, refused{0};
  InArena([&](int task) {
    if (inside) ++begun_inside;
    if (task % 2 != 0) return;
    inside = true;
    if (!CallOfThisThread().Run(4)) ++refused;
    inside = false;
  });
  EXPECT_EQ(begun_inside, 0);
  EXPECT_EQ(refused, 0);
}

// Without isolation a waiting thread begins a task that wants the lock which it holds itself.
TEST(Isolation, ALockHeldAroundRunIsSafe) {
  Call call;
  std::recursive_mutex mutex;
  int depth = 0, deepest = 0;
  std::atomic<int> refused{0};
  InArena([&](int task) {
    if (task % 3 == 0) return;
    const std::lock_guard lock(mutex);
    deepest = std::max(deepest, ++depth);
    if (!call.Run(4)) ++refused;
    --depth;
  });
  EXPECT_EQ(deepest, 1);
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(call.Compare(), "");
}

TEST(Isolation, ThreadsOfAnyKind) {
  for (const int num_threads : {1, 4}) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kSlots; ++i) {
      threads.emplace_back([&] {
        Call call;
        for (int repeat = 0; repeat < 50; ++repeat) wrong += !call.Run(num_threads);
        wrong += !call.Compare().empty();
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << num_threads;
  }
}

}  // namespace
}  // namespace ropekv::testing
