// SPDX-License-Identifier: Apache-2.0
// How much stack a call needs: threads of musl and of many pools have 128 KiB in all.
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

#include "support/every_kernel.h"
#include "support/guarded_buffer.h"
#include "support/problem.h"
#include "support/sampler.h"
#include "support/share.h"
#include "support/streaming_plan.h"

namespace ropekv::testing {
namespace {

// What ropekv.h promises. Frames of unoptimised code and of sanitizers are larger, but end before
// the guard page.
#if defined(__OPTIMIZE__) && !defined(ROPEKV_SANITIZED)
constexpr int64_t kMaxStackBytes = 32 << 10;
#else
constexpr int64_t kMaxStackBytes = 1 << 20;
#endif

// A thread whose stack was filled with a pattern before it began.
class StackProbe {
 public:
  // How far below the caller's frame `call` has written.
  [[gnu::no_sanitize_address]] int64_t Depth(const std::function<void()>& call) {
    std::memset(stack_.data(), kPattern, stack_.size());
    Thread thread = {&call, nullptr};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    EXPECT_EQ(pthread_attr_setstack(&attributes, stack_.data(), stack_.size()), 0);
    pthread_t id;
    EXPECT_EQ(pthread_create(&id, &attributes, &Thread::Start, &thread), 0);
    EXPECT_EQ(pthread_join(id, nullptr), 0);
    pthread_attr_destroy(&attributes);
    const unsigned char* deepest = stack_.data();
    while (*deepest == kPattern) ++deepest;
    return thread.frame - deepest;
  }

 private:
  static constexpr unsigned char kPattern = 0xA5;

  struct Thread {
    const std::function<void()>* call;
    const unsigned char* frame;

    static void* Start(void* argument) {
      auto* const thread = static_cast<Thread*>(argument);
      thread->frame = static_cast<const unsigned char*>(__builtin_frame_address(0));
      (*thread->call)();
      return nullptr;
    }
  };

  GuardedBuffer stack_{1 << 20, 4096};
};

#if !defined(ROPEKV_SANITIZED)  // sanitizers put large frames elsewhere
TEST(StackProbe, SeesAFrame) {
  constexpr int64_t kBytes = 100000;
  const int64_t depth = StackProbe().Depth([] {
    [[maybe_unused]] volatile char frame[kBytes];
    frame[0] = 1;
  });
  EXPECT_GE(depth, kBytes);
  EXPECT_LT(depth, kBytes + 1000);
}
#endif

class StackTest : public ::testing::TestWithParam<std::tuple<Variant, Target>> {};

TEST_P(StackTest, IsBounded) {
  const auto& [variant, target] = GetParam();
  StackProbe probe;
  int64_t deepest = 0;
  const auto measure = [&](const char* what, const std::function<Status()>& call) {
    Status status(StatusCode::kInternal, what, "has not run");
    const int64_t depth = probe.Depth([&] { status = call(); });
    EXPECT_EQ(status.message(), "");
    EXPECT_LE(depth, kMaxStackBytes) << what;
    deepest = std::max(deepest, depth);
  };
  for (const int64_t head_dim : {2, 4, 16, 64, 96, 128, 256, 512, 600}) {
    for (const bool strided_x : {false, true}) {
      for (const bool streaming : {false, true}) {
        Spec spec = DenseSpec({.batch = Share(9, 3),
                               .num_q_heads = 2,
                               .num_kv_heads = 32,
                               .head_dim = head_dim,
                               .x_dtype = variant.source,
                               .out_dtype = variant.output,
                               .cache_layout = CacheLayout::kPaged,
                               .cache_shape = {3, 4},
                               .kv_output = true,
                               .offsets = true,
                               .activation_scale = true,
                               .bias_dtype = streaming ? DType::kF32 : DType::kF16});
        spec.numerics = variant.numerics;
        spec.target = target;
        for (int64_t& stride : spec.x.stride) stride *= strided_x ? 2 : 1;
        SCOPED_TRACE(::testing::Message() << "D " << head_dim << ", strided x " << strided_x
                                          << ", streaming " << streaming);
        Plan plan = MakeStreamingPlan(spec, streaming).value();
        Problem problem(spec, Flavour::kTies, 1);
        const Args args = problem.actual();
        measure("CheckArgs", [&] { return CheckArgs(plan, args); });
        measure("Run", [&] { return ropekv::Run(plan, args, {.num_threads = 1}); });
        measure("Run, shared", [&] { return ropekv::Run(plan, args, {.num_threads = 3}); });
        ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
        ASSERT_EQ(problem.Compare(), "");
        measure("BindWeights", [&] {
          Result<Plan> bound = BindWeights(plan, args);
          if (bound.ok()) plan = *bound;
          return bound.status();
        });
        measure("Run, bound", [&] { return ropekv::Run(plan, args, {.num_threads = 1}); });
        ASSERT_EQ(problem.Compare(), "");
      }
    }
  }
  RecordProperty("deepest_bytes", static_cast<int>(deepest));
}

INSTANTIATE_TEST_SUITE_P(All, StackTest, EveryKernel(), KernelName);

// So many slots that the search for a duplicate takes them in parts; and the message about one.
TEST(StackOfCheckArgs, IsBounded) {
  constexpr int64_t kTokens = 10000;
  const Spec spec = DenseSpec({.batch = kTokens,
                               .num_q_heads = 1,
                               .num_kv_heads = 1,
                               .head_dim = 2,
                               .cache_layout = CacheLayout::kPaged,
                               .cache_shape = {kTokens, 16}});
  const Plan plan = MakePlan(spec).value();
  Problem problem(spec, Flavour::kPlain, 1);
  auto* const slots = static_cast<int32_t*>(problem.MutableInput(TensorId::kIndices));
  const Args args = problem.actual();
  StackProbe probe;
  for (const bool twice : {false, true}) {
    Rng rng(1);
    for (int64_t i = 0; i < kTokens; ++i) {
      slots[i] = static_cast<int32_t>(16 * i + rng.Int(0, 15));
    }
    if (twice) slots[kTokens - 1] = slots[kTokens / 2];
    for (const bool run : {false, true}) {
      StatusCode code = StatusCode::kInternal;
      const int64_t depth = probe.Depth([&] {
        code = (run ? ropekv::Run(plan, args, {.num_threads = 1}) : CheckArgs(plan, args)).code();
      });
      EXPECT_EQ(code, twice ? StatusCode::kBadIndex : StatusCode::kOk);
      EXPECT_LE(depth, kMaxStackBytes) << (run ? "Run" : "CheckArgs");
    }
  }
}

}  // namespace
}  // namespace ropekv::testing
