// SPDX-License-Identifier: Apache-2.0
// One point of the benchmark: a model's shape, a number of tokens, dtypes, layout, threads.
#ifndef ROPEKV_BENCH_SUITE_H_
#define ROPEKV_BENCH_SUITE_H_

#include <cstdint>

#include "bench/copy_floor.h"
#include "bench/measure.h"
#include "ropekv/ropekv.h"
#include "workload/models.h"

namespace ropekv::bench {

struct Point {
  workload::Model model;
  int64_t tokens = 1;
  DType x = DType::kBF16;
  DType dtype = DType::kBF16;  // of cos, sin and the outputs
  Numerics numerics = Numerics::kFloat32;
  CacheLayout cache = CacheLayout::kPaged;
  bool kv_output = false;
  int threads = 1;
  Target target = Target::kBest;
};

struct Measurement {
  Point point;
  Target target = Target::kBest;  // the one that ran
  int runs = 0;
  int64_t bytes = 0;  // moved by one call
  Timing call;        // of one Run of a prepared plan
  Timing floor;       // of the faster copy
  Stores floor_stores = Stores::kOrdinary;

  double ratio() const { return floor.median / call.median; }
  double gigabytes_per_second() const { return static_cast<double>(bytes) / call.median; }
};

// The Spec a point stands for: one sequence of new tokens; i32 x has f32 bias and activation scale;
// paged blocks of 128 in shuffled order.
Spec SpecOf(const Point& point);

// Generates the point's data and measures Run beside the copy, in turns. `point` must make a legal
// plan; throws std::bad_alloc.
Measurement Measure(const Point& point, const MeasureOptions& options);

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_SUITE_H_
