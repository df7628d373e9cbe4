// SPDX-License-Identifier: Apache-2.0
// Timing that compares like with like.
#ifndef ROPEKV_BENCH_MEASURE_H_
#define ROPEKV_BENCH_MEASURE_H_

#include <functional>
#include <vector>

namespace ropekv::bench {

// Nanoseconds of one call, over all runs.
struct Timing {
  double median = 0;
  double min = 0;
  double max = 0;
};

struct MeasureOptions {
  int runs = 9;
  double seconds_per_run = 0.02;  // a run repeats a short call to last about this long
};

// Times each function `runs` times, taking turns: what disturbs the machine disturbs all of them.
// The order within a turn alternates. One turn before the first is not counted.
std::vector<Timing> MeasureInTurns(const std::vector<std::function<void()>>& functions,
                                   const MeasureOptions& options);

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_MEASURE_H_
