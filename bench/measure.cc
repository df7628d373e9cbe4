// SPDX-License-Identifier: Apache-2.0
#include "bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace ropekv::bench {
namespace {

double Nanoseconds(const std::function<void()>& function, int64_t calls) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < calls; ++i) function();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

// How many calls last about as long as a run should. The first calls warm the caches and the
// clock.
int64_t CallsPerRun(const std::function<void()>& function, double seconds) {
  for (int64_t calls = 1;; calls *= 4) {
    const double nanoseconds = Nanoseconds(function, calls);
    if (nanoseconds > 1e9 * seconds / 8) {
      const double wanted = std::ceil(static_cast<double>(calls) * 1e9 * seconds / nanoseconds);
      return std::max<int64_t>(1, static_cast<int64_t>(wanted));
    }
  }
}

}  // namespace

std::vector<Timing> MeasureInTurns(const std::vector<std::function<void()>>& functions,
                                   const MeasureOptions& options) {
  const size_t count = functions.size();
  std::vector<int64_t> calls;
  calls.reserve(count);
  for (const auto& function : functions) {
    calls.push_back(CallsPerRun(function, options.seconds_per_run));
  }
  std::vector<std::vector<double>> samples(count);
  for (int turn = -1; turn < options.runs; ++turn) {
    for (size_t place = 0; place < count; ++place) {
      const size_t i = turn % 2 == 0 ? place : count - 1 - place;
      const double nanoseconds =
          Nanoseconds(functions[i], calls[i]) / static_cast<double>(calls[i]);
      if (turn >= 0) samples[i].push_back(nanoseconds);
    }
  }
  std::vector<Timing> timings;
  for (std::vector<double>& sample : samples) {
    std::sort(sample.begin(), sample.end());
    const double median = (sample[(sample.size() - 1) / 2] + sample[sample.size() / 2]) / 2;
    timings.push_back({median, sample.front(), sample.back()});
  }
  return timings;
}

}  // namespace ropekv::bench
