// SPDX-License-Identifier: Apache-2.0
// Many launches over several streams, ordered by random events. A cell is a set of outputs that
// calls of all streams write in turn, so that a lost order shows as wrong bytes; built with
// -DROPEKV_SANITIZE=thread it also shows as a race.
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "aclnn/fixture.h"
#include "support/rng.h"

namespace ropekv::testing {
namespace {

constexpr int kStreams = 8, kLaunches = 10'000, kCells = 12;

// One output that many calls write: which call was last, and the event that follows it.
struct Cell {
  aclrtEvent written = nullptr;
  int owner = -1;  // stream of the last writer
  int last = -1;   // its input
};

void Nap(void*) { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

class Stress : public AclTest {};

TEST_F(Stress, LaunchesOverStreamsWithEvents) {
  Rng rng(7);
  std::vector<aclrtStream> streams(kStreams);
  for (aclrtStream& stream : streams) ASSERT_EQ(aclrtCreateStream(&stream), 0);
  // Different inputs, so that results tell which call came last.
  constexpr int kInputs = 5;
  const Spec spec = PagedSpec(2);
  std::vector<std::unique_ptr<Problem>> inputs, outputs;
  const Result<Plan> plan = MakePlan(spec);
  for (int i = 0; i < kInputs; ++i) {
    inputs.push_back(std::make_unique<Problem>(spec, Flavour::kPlain, static_cast<uint64_t>(i)));
    ASSERT_TRUE(RunReference(*plan, inputs.back()->expected()).ok());
  }
  std::vector<Cell> cells(kCells);
  std::vector<Args> args;
  for (Cell& cell : cells) {
    outputs.push_back(std::make_unique<Problem>(spec, Flavour::kPlain, 0));
    args.push_back(outputs.back()->actual());
    ASSERT_EQ(aclrtCreateEventExWithFlag(&cell.written, ACL_EVENT_SYNC), 0);
  }

  const auto expect_last_call_everywhere = [&] {
    constexpr size_t kBytes = 2 * 4 * 32 * 2;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (cells[i].last < 0) continue;
      const Args expected = inputs[static_cast<size_t>(cells[i].last)]->expected();
      EXPECT_EQ(std::memcmp(args[i].q, expected.q, kBytes), 0) << "cell " << i;
    }
  };

  for (int launch = 0; launch < kLaunches; ++launch) {
    const auto at = static_cast<size_t>(rng.Int(0, kCells - 1));
    const auto input = static_cast<int>(rng.Int(0, kInputs - 1));
    const auto stream = static_cast<int>(rng.Int(0, kStreams - 1));
    Cell& cell = cells[at];
    void* const handle = streams[static_cast<size_t>(stream)];
    if (cell.owner >= 0 && cell.owner != stream) {
      ASSERT_EQ(aclrtStreamWaitEvent(handle, cell.written), 0);
    }
    Args bound = inputs[static_cast<size_t>(input)]->actual();
    bound.q = args[at].q;
    AclCall call(spec, bound);
    ASSERT_EQ(call.Prepare(), 0) << TakeMessage();
    // Caches of the inputs are written by several streams at once, so each cell has its own.
    for (const TensorId id : {TensorId::kKCache, TensorId::kVCache}) {
      void* address = id == TensorId::kKCache ? args[at].k_cache : args[at].v_cache;
      const TensorPtr tensor = MakeTensor(spec.k_cache, address);
      ASSERT_EQ(
          aclSetInputTensorAddr(call.executor, static_cast<size_t>(id), tensor.get(), address), 0);
    }
    ASSERT_EQ(call.Launch(handle), 0) << TakeMessage();
    ASSERT_EQ(aclrtRecordEvent(cell.written, handle), 0);
    cell.owner = stream;
    cell.last = input;
    switch (rng.Int(0, 40)) {
      case 0:
        ASSERT_EQ(aclrtSynchronizeDevice(), 0) << TakeMessage();
        expect_last_call_everywhere();
        break;
      case 1: ASSERT_EQ(aclrtSynchronizeEvent(cell.written), 0); break;
      case 2: {  // the event may go while others wait for it
        ASSERT_EQ(aclrtSynchronizeStream(handle), 0);
        ASSERT_EQ(aclrtDestroyEvent(cell.written), 0);
        ASSERT_EQ(aclrtCreateEventExWithFlag(&cell.written, ACL_EVENT_SYNC), 0);
        break;
      }
      case 3:
      case 4:
      case 5:
      case 6:  // the stream is busy for a while, so that what follows is queued
        ASSERT_EQ(aclrtLaunchHostFunc(handle, Nap, nullptr), 0);
        break;
      default: break;
    }
  }
  ASSERT_EQ(aclrtSynchronizeDevice(), 0) << TakeMessage();
  expect_last_call_everywhere();
  for (const Cell& cell : cells) EXPECT_EQ(aclrtDestroyEvent(cell.written), 0);
  for (void* const stream : streams) EXPECT_EQ(aclrtDestroyStream(stream), 0);
}

// Each thread has streams of its own and shares one; handles come and go all the time.
TEST_F(Stress, ThreadsThatCreateAndDestroy) {
  constexpr int kThreads = 4, kRounds = 60;
  aclrtContext context = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&context), 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ASSERT_EQ(aclrtSetCurrentContext(context), 0);
      Case test(static_cast<uint64_t>(t));
      for (int round = 0; round < kRounds; ++round) {
        aclrtStream stream = nullptr;
        aclrtEvent event = nullptr;
        void* memory = nullptr;
        ASSERT_EQ(aclrtCreateStream(&stream), 0);
        ASSERT_EQ(aclrtCreateEvent(&event), 0);
        ASSERT_EQ(aclrtMalloc(&memory, 4096, ACL_MEM_MALLOC_HUGE_FIRST), 0);
        ASSERT_EQ(aclrtLaunchHostFunc(
                      stream, [](void*) {}, nullptr),
                  0);
        ASSERT_EQ(aclrtMemsetAsync(memory, 4096, 1, 4096, stream), 0);
        test.problem.ResetActual();
        ASSERT_EQ(test.call.Prepare(), 0);
        ASSERT_EQ(test.call.Launch(stream), 0);
        ASSERT_EQ(aclrtFree(memory), 0);
        ASSERT_EQ(aclrtRecordEvent(event, stream), 0);
        ASSERT_EQ(aclrtStreamWaitEvent(stream_, event), 0);
        ASSERT_EQ(aclrtSynchronizeEvent(event), 0);
        ASSERT_EQ(test.problem.Compare(), "");
        ASSERT_EQ(aclrtDestroyEvent(event), 0);
        ASSERT_EQ(round % 2 ? aclrtDestroyStream(stream) : aclrtDestroyStreamForce(stream), 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(aclrtSynchronizeStream(stream_), 0);
}

// One repeatable executor in several threads, a stream each. The call is refused when it runs, so
// that they do not write to one place.
TEST_F(Stress, ThreadsThatShareAnExecutor) {
  constexpr int kThreads = 4, kRounds = 100;
  aclrtContext context = nullptr;
  ASSERT_EQ(aclrtGetCurrentContext(&context), 0);
  Case bad;
  SpoilIndices(bad);
  ASSERT_EQ(bad.call.Prepare(), 0);
  ASSERT_EQ(aclSetAclOpExecutorRepeatable(bad.call.executor), 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      ASSERT_EQ(aclrtSetCurrentContext(context), 0);
      aclrtStream stream = nullptr;
      ASSERT_EQ(aclrtCreateStream(&stream), 0);
      for (int round = 0; round < kRounds; ++round) {
        if (round % 2) {
          ASSERT_EQ(aclrtLaunchHostFunc(stream, Nap, nullptr), 0);
        }
        ASSERT_EQ(aclnnDequantRopeQuantKvcache(nullptr, 0, bad.call.executor, stream), 0);
        ExpectFailure(aclrtSynchronizeStream(stream), 507035, "indices");
      }
      EXPECT_EQ(aclrtDestroyStream(stream), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(aclDestroyAclOpExecutor(bad.call.executor), 0);
  EXPECT_EQ(bad.problem.CompareUntouched(), "");
}

// A stream ends, and memory is freed, while other threads still submit to the stream and use the
// memory there: each call succeeds or says that the stream is gone, and nothing is lost in between.
TEST_F(Stress, StreamsThatEndInUse) {
  constexpr int kThreads = 3, kRounds = 40;
  constexpr size_t kBytes = 4096;
  for (int round = 0; round < kRounds; ++round) {
    aclrtStream stream = nullptr;
    ASSERT_EQ(aclrtCreateStream(&stream), 0);
    std::atomic<int> accepted{0}, busy{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        int code = 0;
        while (code == 0) {
          void* memory = nullptr;
          ASSERT_EQ(aclrtMalloc(&memory, kBytes, ACL_MEM_MALLOC_HUGE_FIRST), 0);
          code = aclrtLaunchHostFunc(
              stream, [](void*) {}, nullptr);
          if (code == 0) code = aclrtMemsetAsync(memory, kBytes, 1, kBytes, stream);
          if (code == 0) ++accepted;
          ASSERT_EQ(aclrtFree(memory), 0);
          ++busy;
        }
        ExpectFailure(code, 107017);
      });
    }
    while (busy < 2 * kThreads) std::this_thread::yield();
    EXPECT_EQ(round % 2 ? aclrtDestroyStream(stream) : aclrtDestroyStreamForce(stream), 0);
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(accepted, 0);
  }
}

// A tensor is described anew while other calls read it: each reads one of its two shapes.
TEST_F(Stress, TensorsDescribedAnewBesideReaders) {
  constexpr int kReads = 200'000;
  const std::vector<int64_t> first = {3}, second = {7, 5, 11, 2, 13, 17, 19, 23};
  const auto describe = [&](aclTensor* tensor, const std::vector<int64_t>& shape) {
    return aclInitTensor(tensor, shape.data(), shape.size(), ACL_INT8, nullptr, 0, ACL_FORMAT_ND,
                         shape.data(), shape.size(), nullptr);
  };
  const TensorPtr tensor(aclCreateTensor(first.data(), first.size(), ACL_INT8, nullptr, 0,
                                         ACL_FORMAT_ND, first.data(), first.size(), nullptr));
  std::atomic<bool> done{false};
  std::atomic<int> others{0}, reads{0};
  std::thread reader([&] {
    while (!done) {
      int64_t* dims = nullptr;
      uint64_t rank = 0;
      if (aclGetViewShape(tensor.get(), &dims, &rank) != 0) break;
      const std::vector<int64_t> found(dims, dims + rank);
      delete[] dims;
      ++reads;
      if (found != first && found != second) ++others;
    }
  });
  for (int i = 0; reads < kReads; ++i) EXPECT_EQ(describe(tensor.get(), i % 2 ? second : first), 0);
  done = true;
  reader.join();
  EXPECT_EQ(others, 0);
}

}  // namespace
}  // namespace ropekv::testing
