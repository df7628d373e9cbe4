// SPDX-License-Identifier: Apache-2.0
#include "bench/measure.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

namespace ropekv::bench {
namespace {

TEST(MeasureInTurns, OrdersItsNumbersAndItsFunctions) {
  const auto sleep = [](int microseconds) {
    return [microseconds] { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); };
  };
  // A sleep is never shorter than it should be.
  const auto timings =
      MeasureInTurns({sleep(100), sleep(1000)}, {.runs = 4, .seconds_per_run = 0.001});
  ASSERT_EQ(timings.size(), 2u);
  for (const Timing& timing : timings) {
    EXPECT_LE(timing.min, timing.median);
    EXPECT_LE(timing.median, timing.max);
  }
  EXPECT_GE(timings[0].min, 100e3);
  EXPECT_GE(timings[1].min, 1000e3);
}

TEST(MeasureInTurns, TakesTurns) {
  // The order of calls, repeats left out, once both are past the calls that size a run.
  std::string order;
  const auto note = [&](char name) {
    return [&order, name] {
      if (order.empty() || order.back() != name) order += name;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
  };
  const auto timings = MeasureInTurns({note('a'), note('b')}, {.runs = 4, .seconds_per_run = 1e-3});
  ASSERT_EQ(timings.size(), 2u);
  // Sizing: ab. Turns, the first of which does not count: ba, ab, ba, ab, ba.
  EXPECT_EQ(order, "abababa");
}

}  // namespace
}  // namespace ropekv::bench
