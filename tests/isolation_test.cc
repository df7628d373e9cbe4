// SPDX-License-Identifier: Apache-2.0
// Run inside a caller's own scheduler: its threads may help with this call, but a thread that waits
// in Run never begins a task of the caller's.
#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "support/problem.h"
#include "support/share.h"

namespace ropekv::testing {
namespace {

constexpr int kSlots = 6;

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

// Calls `run` within an arena, up to `most_calls` times, until a task of the arena's begins inside
// it on the same thread; and says how many did. A caller may hold a lock there that its tasks want.
// Another thread has tasks waiting all the time, and the rest help whom they find: while they work
// on a part of `run`, the thread that called it waits, and could begin such a task.
template <class Run>
int TasksBegunInside(int64_t most_calls, const Run& run) {
  namespace tbb = oneapi::tbb;
  // More than this machine may have processors.
  const tbb::global_control control(tbb::global_control::max_allowed_parallelism, kSlots);
  tbb::task_arena arena(kSlots);
  thread_local bool inside = false;
  std::atomic<int> begun_inside{0}, waiting{0};
  std::atomic<bool> done{false};
  std::thread other([&] {
    arena.execute([&] {
      tbb::task_group tasks;
      while (!done) {
        if (waiting == 100) {
          std::this_thread::yield();
          continue;
        }
        ++waiting;
        tasks.run([&] {
          --waiting;
          begun_inside += inside;
        });
      }
      tasks.wait();
    });
  });
  arena.execute([&] {
    for (int64_t i = 0; i < most_calls && begun_inside == 0; ++i) {
      inside = true;
      run();
      inside = false;
    }
  });
  done = true;
  other.join();
  return begun_inside;
}

// Whether that notices.
TEST(Isolation, TasksBeginInsideALoopOfOneTBB) {
  const auto loop = [] {
    oneapi::tbb::parallel_for(
        0, 4,
        [](int) {
          const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(100);
          while (std::chrono::steady_clock::now() < end) continue;
        },
        oneapi::tbb::simple_partitioner());
  };
  EXPECT_GT(TasksBegunInside(100000, loop), 0);
}

TEST(Isolation, NoTaskBeginsInsideRun) {
  Call call;
  int refused = 0;
  EXPECT_EQ(TasksBegunInside(Share(2000, 100), [&] { refused += !call.Run(4); }), 0);
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
