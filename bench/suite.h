// SPDX-License-Identifier: Apache-2.0
// One point of the benchmark: a model's shape, a number of tokens, a kernel, cache, threads.
#ifndef ROPEKV_BENCH_SUITE_H_
#define ROPEKV_BENCH_SUITE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bench/copy_floor.h"
#include "bench/layout.h"
#include "bench/measure.h"
#include "ropekv/ropekv.h"
#include "workload/case.h"
#include "workload/generate.h"
#include "workload/models.h"

namespace ropekv::bench {

// What a fused kernel is made for.
struct Variant {
  DType x = DType::kBF16;
  DType dtype = DType::kBF16;  // of the outputs
  Numerics numerics = Numerics::kFloat32;
};

// All there are.
std::span<const Variant> Variants();

// The first model of each shape and rotation.
std::vector<workload::Model> DistinctShapes();

// Where the cache rows of consecutive tokens lie.
enum class Placement : uint8_t {
  kContiguous,      // contiguous layout: side by side
  kShuffledBlocks,  // paged: side by side in blocks of 128, which are in random order
  kRandomSlots,     // paged: anywhere
};

struct Point {
  workload::Model model;  // with the rotation that is measured
  int64_t tokens = 1;
  Variant variant;
  Placement placement = Placement::kShuffledBlocks;
  DType angles = DType::kNone;  // of cos and sin; kNone: the outputs'
  bool positions = false;       // cos and sin by positions, in runs of 128 that are in random order
  bool packed = false;          // cos and sin in one tensor
  bool half_width = false;      // cos and sin with an entry a pair
  DType index_dtype = DType::kI32;
  DType cache_dtype = DType::kI8;
  workload::Scales scales = workload::Scales::kChannel;
  Layout layout;
  bool kv_output = false;
  bool bound = false;  // with the weights bound to the plan
  int threads = 1;
  Target target = Target::kBest;
};

// What a point has that not every implementation knows, in the order above: "interleaved",
// "positions", "bf16 cache", ...
std::vector<std::string> FeaturesOf(const Point& point);
// Why the other implementations here cannot be compared with at a point; empty if they can.
std::string BeyondPeers(const Point& point);

// Of one sequence of new tokens, each of which has a slot. i32 x comes with an f32 bias and
// activation scales.
Spec SpecOf(const Point& point);

// The rows of x, cos, sin and activation_scale repeat after some hundred tokens: the time of a call
// does not depend on them. Every page is touched, here and by this thread. Precondition: MakePlan
// accepts SpecOf(point). Throws std::bad_alloc.
workload::Case CaseOf(const Point& point);

// Another implementation at the same point.
struct PeerResult {
  std::string name;
  std::string version;  // of its library
  int runs = 0;
  Timing call;
  double mismatches = 0;  // share of the int8 entries written that differ from the operator's
  std::string absent;     // why it cannot run at all, or
  std::string failed;     // at this point
  bool measured() const { return absent.empty() && failed.empty(); }
};

struct Measurement {
  Point point;
  Target target = Target::kBest;  // the one that ran
  int runs = 0;
  int64_t bytes = 0;  // moved by one call
  Timing call;        // of one Run of a prepared plan
  Timing floor;       // of the faster copy
  Stores floor_stores = Stores::kOrdinary;
  std::vector<PeerResult> peers;
};

// Measures Run beside both copies and, if asked for, the unfused chain, in turns, on the buffers of
// `made`, which is CaseOf(point). Leaves Run's outputs there.
Measurement Measure(const Point& point, const workload::Case& made, const MeasureOptions& options,
                    bool with_chain);

}  // namespace ropekv::bench

#endif  // ROPEKV_BENCH_SUITE_H_
