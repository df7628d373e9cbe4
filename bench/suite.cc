// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>

#include "bench/unfused_chain.h"
#include "kernels/variants.h"
#include "workload/generate.h"

namespace ropekv::bench {
namespace {

constexpr Variant kVariants[] = {
#define ROPEKV_BENCH_VARIANT(x, dtype, numerics) {DType::x, DType::dtype, Numerics::numerics},
    ROPEKV_VARIANTS(ROPEKV_BENCH_VARIANT)
#undef ROPEKV_BENCH_VARIANT
};

// Enough rows that no branch or cache could learn them.
constexpr int64_t kRowsMadeUp = 256;

workload::GenerateOptions OptionsOf(const Point& point) {
  const bool contiguous = point.placement == Placement::kContiguous;
  return {.model = point.model,
          .batch = 1,
          .seq = point.tokens,
          .x = point.variant.x,
          .dtype = point.variant.dtype,
          .angles = point.angles,
          .positions = point.positions,
          .packed = point.packed,
          .half_width = point.half_width,
          .index_dtype = point.index_dtype,
          .cache_dtype = point.cache_dtype,
          .scales = point.scales,
          .cache = contiguous ? CacheLayout::kContiguous : CacheLayout::kPaged,
          .bias = point.variant.x == DType::kI32 ? DType::kF32 : DType::kNone,
          .kv_output = point.kv_output};
}

void FillByRepeating(const workload::Buffer& pattern, workload::Buffer& buffer) {
  for (int64_t at = 0; at < buffer.size(); at += pattern.size()) {
    std::memcpy(buffer.data() + at, pattern.data(), std::min(pattern.size(), buffer.size() - at));
  }
}

int64_t CountDifferent(const workload::Buffer& a, const workload::Buffer& b) {
  int64_t count = 0;
  for (int64_t i = 0; i < a.size(); ++i) count += a.data()[i] != b.data()[i];
  return count;
}

// A slot or position for each token: the first of a random order of whole blocks. A block of one
// is a slot.
void PlaceInBlocks(int64_t block_size, int64_t slots, TensorId id, const workload::Case& made) {
  std::vector<int64_t> blocks(slots / block_size);
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937_64());
  const int64_t tokens = made.spec.x.shape[1];
  for (int64_t t = 0; t < tokens; ++t) {
    workload::SetIndex(made, id, t, blocks[t / block_size] * block_size + t % block_size);
  }
}

// The Specs that are made here are legal.
void ThrowUnlessOk(const Status& status) {
  if (status.code() == StatusCode::kOutOfMemory) throw std::bad_alloc();
  if (!status.ok()) throw std::logic_error(status.message());
}

Plan ValueOf(const Result<Plan>& plan) {
  ThrowUnlessOk(plan.status());
  return *plan;
}

}  // namespace

std::span<const Variant> Variants() { return kVariants; }

std::vector<std::string> FeaturesOf(const Point& point) {
  const workload::Model& model = point.model;
  std::vector<std::string> features;
  const auto add = [&features](bool has, std::string name) {
    if (has) features.push_back(std::move(name));
  };
  const auto named = [](DType dtype, const char* what) {
    return std::string(Name(dtype)) + " " + what;
  };
  add(point.variant.dtype == DType::kF32, "f32 outputs");
  add(model.rotary_dim() != model.head_dim,
      std::to_string(model.rotary_dim()) + " of " + std::to_string(model.head_dim) + " rotated");
  add(model.rotation.style == RotaryStyle::kInterleaved, "interleaved");
  add(point.angles != DType::kNone && point.angles != point.variant.dtype,
      named(point.angles, "cos"));
  add(point.positions, "positions");
  add(point.packed, "packed");
  add(point.half_width, "half width");
  add(point.index_dtype == DType::kI64, "i64 indices");
  add(point.cache_dtype != DType::kI8, named(point.cache_dtype, "cache"));
  add(point.scales == workload::Scales::kHead, "a scale a head");
  add(point.scales == workload::Scales::kTensor, "one scale");
  add(point.layout.caches == CacheOrder::kHeads, "hnd");
  add(point.layout.caches == CacheOrder::kBlocks, "block-major");
  add(point.layout.sliced, "sliced");
  return features;
}

std::string BeyondPeers(const Point& point) {
  std::string features;
  for (const std::string& feature : FeaturesOf(point)) {
    features += (features.empty() ? "does not do " : ", ") + feature;
  }
  return features;
}

std::vector<workload::Model> DistinctShapes() {
  std::vector<workload::Model> models;
  for (const workload::Model& model : workload::Models()) {
    const bool known = std::any_of(models.begin(), models.end(), [&](const auto& other) {
      return other.q_heads == model.q_heads && other.kv_heads == model.kv_heads &&
             other.head_dim == model.head_dim && other.rotary_dim() == model.rotary_dim() &&
             other.rotation.style == model.rotation.style;
    });
    if (!known) models.push_back(model);
  }
  return models;
}

Spec SpecOf(const Point& point) {
  Spec spec = workload::MakeSpec(OptionsOf(point));
  spec.numerics = point.variant.numerics;
  spec.target = point.target;
  SetStrides(point.layout, &spec);
  return spec;
}

workload::Case CaseOf(const Point& point) {
  workload::GenerateOptions few = OptionsOf(point);
  few.seq = std::min(point.tokens, kRowsMadeUp);
  const workload::Case rows = workload::Generate(few);
  workload::Case made = workload::Allocate(SpecOf(point));
  MoveOutputs(point.layout, &made);
  for (const TensorField& field : kTensorFields) {
    if (workload::IsCache(field.id)) made[field.id].Fill(1);
    if (!field.output && rows[field.id].size() > 0) {
      FillByRepeating(rows[field.id], made[field.id]);
    }
  }
  const auto& cache = made.spec.k_cache.shape;
  if (point.placement != Placement::kContiguous) {
    const int64_t block_size = point.placement == Placement::kRandomSlots ? 1 : cache[1];
    PlaceInBlocks(block_size, cache[0] * cache[1], TensorId::kIndices, made);
  }
  if (point.positions) PlaceInBlocks(128, made.spec.cos.shape[0], TensorId::kPositions, made);
  return made;
}

Measurement Measure(const Point& point, const workload::Case& made, const MeasureOptions& options,
                    bool with_chain) {
  const Args args = made.args();
  const Plan given = ValueOf(MakePlan(made.spec));
  const Plan plan = point.bound ? ValueOf(BindWeights(given, args)) : given;
  const auto run = [&] { ThrowUnlessOk(Run(plan, args, {.num_threads = point.threads})); };
  const auto copy = [&](Stores stores) {
    return [&, stores] { CopyFloor(given, args, stores, point.threads); };
  };
  std::vector<std::function<void()>> functions = {run, copy(Stores::kOrdinary),
                                                  copy(Stores::kStreaming)};
  std::optional<UnfusedChain> chain;
  const std::string beyond = BeyondPeers(point);
  if (with_chain && beyond.empty()) {
    chain.emplace(given, args);
    functions.push_back([&] { chain->Run(point.threads); });
  }
  const auto timings = MeasureInTurns(functions, options);
  const bool streaming = timings[2].median < timings[1].median;
  Measurement measurement{.point = point,
                          .target = plan.target(),
                          .runs = options.runs,
                          .bytes = BytesMoved(given, args),
                          .call = timings[0],
                          .floor = timings[streaming ? 2 : 1],
                          .floor_stores = streaming ? Stores::kStreaming : Stores::kOrdinary,
                          .peers = {}};
  if (chain) {
    chain->Run(point.threads);
    const workload::Buffer k = made[TensorId::kKCache].Clone();
    const workload::Buffer v = made[TensorId::kVCache].Clone();
    run();
    const int64_t different =
        CountDifferent(k, made[TensorId::kKCache]) + CountDifferent(v, made[TensorId::kVCache]);
    const int64_t written = 2 * point.tokens * point.model.kv_heads * point.model.head_dim;
    measurement.peers.push_back(
        {.name = "chain",
         .version = Version(),
         .runs = options.runs,
         .call = timings[3],
         .mismatches = static_cast<double>(different) / static_cast<double>(written),
         .absent = {},
         .failed = {}});
  }
  if (with_chain && !beyond.empty()) {
    measurement.peers.push_back({.name = "chain",
                                 .version = Version(),
                                 .runs = 0,
                                 .call = {},
                                 .absent = {},
                                 .failed = beyond});
  }
  run();
  return measurement;
}

}  // namespace ropekv::bench
