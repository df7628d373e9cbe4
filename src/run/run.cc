// SPDX-License-Identifier: Apache-2.0
// Shares the tokens of a checked call among threads.
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "plan/failure.h"
#include "plan/plan.h"
#include "run/check_args.h"
#include "run/fp_env.h"
#include "run/threads.h"
#include "run/walk.h"
#include "run/weights.h"

namespace ropekv {
namespace internal {
namespace {

void RunTokens(const PlanData& plan, const Args& args, TokenRange range, int num_threads) {
  const int64_t tokens = range.end - range.begin;
  const int64_t threads = ChooseThreads(tokens, plan.bytes_per_token, num_threads);
  if (threads == 1) return Walk(plan, args, range);
  // oneTBB restores the caller's rounding mode but not its status flags.
  const DefaultFpEnvironment environment;
  // One contiguous part a thread. As many tasks as threads bound how many run at once, in whatever
  // arena the caller is in. Isolated: while this thread waits for the others' parts it must not
  // begin a task of the caller's, who may hold a lock that the task wants.
  const auto run_part = [&](int64_t part) {
    const auto part_begin = [&](int64_t n) {
      return range.begin + n * (tokens / threads) + std::min(n, tokens % threads);
    };
    Walk(plan, args, {part_begin(part), part_begin(part + 1)});
  };
  try {
    oneapi::tbb::this_task_arena::isolate([&] {
      oneapi::tbb::parallel_for(int64_t{0}, threads, run_part, oneapi::tbb::simple_partitioner());
    });
  } catch (...) {
    // oneTBB could not start a thread. Parts that have run give the same bytes again.
    Walk(plan, args, range);
  }
}

}  // namespace
}  // namespace internal

Status Run(const Plan& plan, const Args& args, const RunOptions& options) noexcept {
  try {
    internal::TokenRange range;
    Status status = internal::CheckCall(plan.data(), args, options, range);
    // Without tokens there may be more heads than anyone can count through.
    if (status.ok() && range.begin < range.end) {
      internal::RunTokens(plan.data(), internal::WithWeights(plan.data(), args), range,
                          options.num_threads);
    }
    return status;
  } catch (...) {
    return internal::StatusOfException();
  }
}

}  // namespace ropekv
