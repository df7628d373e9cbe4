// SPDX-License-Identifier: Apache-2.0
// How a call behaves: slices, threads, the caller's floating-point environment, memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <filesystem>
#include <thread>

#include "support/problem.h"
#include "support/share.h"
#include "support/simple_case.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace ropekv::testing {
namespace {

Problem SampleProblem(const Variant& variant, Flavour flavour, uint64_t seed, int64_t max_tokens) {
  Rng rng(seed);
  return Problem(SampleSpec(rng, variant, {.max_tokens = max_tokens}), flavour, seed);
}

int ThreadsOfThisProcess() {
  int count = 0;
  for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    ++count;
  }
  return count;
}

// A small call stays in the caller's thread; a large one has more, where there are more. The first
// test, because afterwards the other threads exist.
TEST(Threads, SmallCallsWakeNobody) {
  const int before = ThreadsOfThisProcess();
  Problem small(SimpleSpec(CacheLayout::kPaged), Flavour::kPlain, 1);
  const Plan plan = MakePlan(small.spec()).value();
  EXPECT_EQ(RunAndCompare(small, plan, {}), "");
  EXPECT_EQ(ThreadsOfThisProcess(), before);

  if (std::thread::hardware_concurrency() == 1) return;
  Problem large = SampleProblem(AllVariants()[0], Flavour::kPlain, 5, 400);
  const Plan large_plan = MakePlan(large.spec()).value();
  EXPECT_EQ(RunAndCompare(large, large_plan, {.num_threads = 2}), "");
  EXPECT_GT(ThreadsOfThisProcess(), before);
}

// Sequences longer than the tokens that a kernel is given at a time, none a multiple of them, with
// a row to spare between two: no kernel may be given tokens of both.
TEST(Sequences, NeedNotFollowEachOther) {
  for (const CacheLayout layout : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
    for (TensorSpec Spec::*tensor : {&Spec::x, &Spec::cos, &Spec::q}) {
      Spec spec = DenseSpec({.batch = 3,
                             .seq_len = 37,
                             .num_q_heads = 2,
                             .num_kv_heads = 1,
                             .head_dim = 64,
                             .cache_layout = layout,
                             .cache_shape = {8, 40}});
      (spec.*tensor).stride[0] += (spec.*tensor).stride[1];
      Problem problem(spec, Flavour::kPlain, 1);
      Coverage coverage;
      EXPECT_EQ(RunAndCompare(problem, MakePlan(spec).value(), {}, &coverage), "");
      EXPECT_GT(coverage.changed_bytes, 0);
    }
  }
}

TEST(Slices, EqualTheWhole) {
  int cut = 0;
  for (const Variant& variant : AllVariants()) {
    for (uint64_t seed = 0; seed < static_cast<uint64_t>(Share(20, 3)); ++seed) {
      Problem problem = SampleProblem(variant, Flavour::kPlain, seed, 200);
      const Plan plan = MakePlan(problem.spec()).value();
      ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
      Rng rng(seed);
      for (int64_t begin = 0; begin < plan.num_tokens();) {
        const int64_t end = std::min(plan.num_tokens(), begin + rng.Int(0, 90));
        ASSERT_TRUE(ropekv::Run(plan, problem.actual(),
                                {.num_threads = 1, .token_begin = begin, .token_end = end})
                        .ok());
        begin = end;
        ++cut;
      }
      ASSERT_EQ(problem.Compare(), "") << variant.name << " seed " << seed;
    }
  }
  EXPECT_GT(cut, Share(200));
}

// A slice leaves the other tokens' bytes alone.
TEST(Slices, StayInside) {
  Problem problem = SampleProblem(AllVariants()[0], Flavour::kPlain, 3, 100);
  const Plan plan = MakePlan(problem.spec()).value();
  ASSERT_GT(plan.num_tokens(), 4);
  const RunOptions middle = {.token_begin = 1, .token_end = plan.num_tokens() - 1};
  EXPECT_EQ(RunAndCompare(problem, plan, middle), "");
  problem.ResetActual();
  for (const int64_t at : {int64_t{0}, int64_t{2}, plan.num_tokens()}) {
    const RunOptions nothing = {.token_begin = at, .token_end = at};
    EXPECT_TRUE(ropekv::Run(plan, problem.actual(), nothing).ok());
    EXPECT_EQ(problem.CompareUntouched(), "") << at;
  }
}

TEST(Threads, ManyCallersOnOnePlan) {
  for (const Variant& variant : AllVariants()) {
    Rng rng(11);
    const Spec spec = SampleSpec(rng, variant, {.max_tokens = 60});
    const Plan plan = MakePlan(spec).value();
    ASSERT_GT(plan.num_tokens(), 0);
    std::atomic<int> compared{0};
    std::vector<std::thread> callers;
    for (uint64_t caller = 0; caller < 8; ++caller) {
      callers.emplace_back([&, caller] {
        Problem problem(spec, Flavour::kPlain, caller);
        for (int round = 0; round < 3; ++round) {
          const RunOptions options = {.num_threads = static_cast<int>(caller % 4)};
          Coverage coverage;
          const std::string difference = RunAndCompare(problem, plan, options, &coverage);
          EXPECT_EQ(difference, "");
          compared += coverage.changed_bytes > 0;
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(compared, 24);
  }
}

// Disjoint slices of one call, each in a thread of the caller's.
TEST(Threads, SlicesInParallel) {
  Problem problem = SampleProblem(AllVariants()[1], Flavour::kPlain, 5, 700);
  const Plan plan = MakePlan(problem.spec()).value();
  ASSERT_GT(plan.num_tokens(), 100);
  ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
  const Args args = problem.actual();
  ASSERT_TRUE(CheckArgs(plan, args).ok());
  std::vector<std::thread> workers;
  for (int64_t part = 0; part < 6; ++part) {
    workers.emplace_back([&, part] {
      EXPECT_TRUE(ropekv::Run(plan, args,
                              {.num_threads = 1,
                               .token_begin = plan.num_tokens() * part / 6,
                               .token_end = plan.num_tokens() * (part + 1) / 6})
                      .ok());
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(problem.Compare(), "");
}

// The control register of floating-point arithmetic, and its bits that flush subnormals to zero
// (and on aarch64 make every NaN the default one).
#if defined(__x86_64__)
constexpr uint64_t kFlush = 0x8040;
uint64_t Control() { return _mm_getcsr(); }
void SetControl(uint64_t control) { _mm_setcsr(static_cast<unsigned>(control)); }
#else
constexpr uint64_t kFlush = 0x3080000;
uint64_t Control() {
  uint64_t control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  return control;
}
void SetControl(uint64_t control) { asm volatile("msr fpcr, %0" : : "r"(control) : "memory"); }
#endif

// Sets what a caller may have set: a rounding mode, flush to zero, denormals are zero, flags.
class HostileEnvironment {
 public:
  explicit HostileEnvironment(int rounding) : rounding_(rounding) {
    std::fegetenv(&saved_);
    std::feclearexcept(FE_ALL_EXCEPT);
    std::feraiseexcept(FE_OVERFLOW);
    flags_ = std::fetestexcept(FE_ALL_EXCEPT);  // on aarch64 FE_INEXACT, too
    std::fesetround(rounding);
    SetControl(Control() | kFlush);
    control_ = Control();
  }
  ~HostileEnvironment() { std::fesetenv(&saved_); }
  HostileEnvironment(const HostileEnvironment&) = delete;
  HostileEnvironment& operator=(const HostileEnvironment&) = delete;

  bool IsAsItWas() const {
    return Control() == control_ && std::fegetround() == rounding_ &&
           std::fetestexcept(FE_ALL_EXCEPT) == flags_;
  }

 private:
  std::fenv_t saved_;
  int rounding_;
  int flags_;
  uint64_t control_;
};

// Whatever the caller has set, the bytes are the same and the setting survives.
TEST(FloatingPointEnvironment, NeitherMattersNorChanges) {
  for (const int mode : {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO}) {
    for (const Flavour flavour : kFlavours) {
      for (const Variant& variant : AllVariants()) {
        Problem problem = SampleProblem(variant, flavour, 21, Share(300));
        const Plan plan = MakePlan(problem.spec()).value();
        ASSERT_GT(plan.num_tokens(), 0);
        ASSERT_TRUE(RunReference(plan, problem.expected()).ok());
        for (const int threads : {0, 1, 3}) {
          problem.ResetActual();
          bool ok = false;
          bool kept = false;
          {
            const HostileEnvironment environment(mode);
            // 0: the reference.
            ok = threads == 0 ? RunReference(plan, problem.actual()).ok()
                              : ropekv::Run(plan, problem.actual(), {.num_threads = threads}).ok();
            kept = environment.IsAsItWas();
          }
          ASSERT_TRUE(ok);
          EXPECT_TRUE(kept) << threads;
          EXPECT_EQ(problem.Compare(), "") << variant.name << " " << Name(flavour);
        }
      }
    }
  }
}

TEST(Plan, KeepsTheSpec) {
  const Spec spec = SimpleSpec(CacheLayout::kPaged);
  const Plan plan = MakePlan(spec).value();
  const Plan copy = plan;
  EXPECT_EQ(copy.spec().size_splits, spec.size_splits);
  EXPECT_EQ(copy.num_tokens(), 6);
  EXPECT_NE(copy.target(), Target::kBest);
}

}  // namespace
}  // namespace ropekv::testing
