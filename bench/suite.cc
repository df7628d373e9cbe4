// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include <stdexcept>

#include "workload/generate.h"

namespace ropekv::bench {
namespace {

workload::GenerateOptions OptionsOf(const Point& point) {
  return {.model = point.model,
          .batch = 1,
          .seq = point.tokens,
          .x = point.x,
          .dtype = point.dtype,
          .cache = point.cache,
          .bias = point.x == DType::kI32 ? DType::kF32 : DType::kNone,
          .kv_output = point.kv_output};
}

void Apply(const Point& point, Spec& spec) {
  spec.numerics = point.numerics;
  spec.target = point.target;
}

}  // namespace

Spec SpecOf(const Point& point) {
  Spec spec = workload::MakeSpec(OptionsOf(point));
  Apply(point, spec);
  return spec;
}

Measurement Measure(const Point& point, const MeasureOptions& options) {
  workload::Case generated = workload::Generate(OptionsOf(point));
  Apply(point, generated.spec);
  const Plan plan = MakePlan(generated.spec).value();
  const Args args = generated.args();
  const auto run = [&] {
    const Status status = Run(plan, args, {.num_threads = point.threads});
    if (!status.ok()) throw std::logic_error(status.message());
  };
  const auto copy = [&](Stores stores) {
    return [&, stores] { CopyFloor(plan, args, stores, point.threads); };
  };
  const auto timings =
      MeasureInTurns({run, copy(Stores::kOrdinary), copy(Stores::kStreaming)}, options);
  const bool streaming = timings[2].median < timings[1].median;
  return {.point = point,
          .target = plan.target(),
          .runs = options.runs,
          .bytes = BytesMoved(plan.spec()),
          .call = timings[0],
          .floor = timings[streaming ? 2 : 1],
          .floor_stores = streaming ? Stores::kStreaming : Stores::kOrdinary};
}

}  // namespace ropekv::bench
