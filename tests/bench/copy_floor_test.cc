// SPDX-License-Identifier: Apache-2.0
#include "bench/copy_floor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "bench/cache_row.h"
#include "bench/suite.h"
#include "support/guarded_buffer.h"
#include "support/sampler.h"
#include "workload/case.h"

namespace ropekv::bench {
namespace {

using testing::GuardedBuffer;

// A call whose inputs hold one byte throughout and whose outputs hold 0, each between guard pages.
// Every byte a copy writes is then known.
class Guarded {
 public:
  Guarded(const Spec& spec, bool fence_start, uint64_t seed = 1) : spec_(spec) {
    testing::Rng rng(seed);
    for (const TensorField& field : kTensorFields) {
      const TensorSpec& tensor = spec.*field.spec;
      if (!tensor.present()) continue;
      const auto element = static_cast<size_t>(ElementBytes(tensor.dtype));
      GuardedBuffer& buffer = At(field.id);
      buffer = GuardedBuffer(testing::ExtentOf(tensor).storage, element, fence_start);
      if (field.output) {
        args_.*field.output = buffer.data();
      } else {
        args_.*field.input = buffer.data();
      }
      if (!IsIndex(field.id)) continue;
      testing::FillInput(rng, spec, field.id, testing::Flavour::kPlain, buffer.data());
    }
    for (const TensorId id : {TensorId::kQ, TensorId::kK, TensorId::kV}) ExpectRows(id, {});
    const std::vector<bool> named = NamedRows();
    for (const TensorId id : {TensorId::kKCache, TensorId::kVCache}) ExpectRows(id, named);
  }

  GuardedBuffer& At(TensorId id) { return buffers_[static_cast<size_t>(id)]; }
  const Args& args() const { return args_; }

  void Fill(uint8_t input) {
    for (const TensorField& field : kTensorFields) {
      GuardedBuffer& buffer = At(field.id);
      if (IsIndex(field.id) || buffer.size() == 0) continue;
      std::memset(buffer.data(), field.output ? 0 : input, buffer.size());
    }
  }

  int64_t CountWritten(TensorId id) {
    int64_t count = 0;
    for (size_t i = 0; i < At(id).size(); ++i) count += At(id).data()[i] != 0;
    return count;
  }
  int64_t CountWritten() {
    int64_t count = 0;
    for (const TensorField& field : kTensorFields) {
      if (field.output) count += CountWritten(field.id);
    }
    return count;
  }

  // Which rows of the caches, counted as slots, `indices` names.
  std::vector<bool> NamedRows() const {
    const Integers indices(spec_.indices, args_.indices);
    const int64_t length = spec_.k_cache.shape[1];
    std::vector<bool> named(static_cast<size_t>(spec_.k_cache.shape[0] * length));
    const int64_t seq = spec_.x.rank == 3 ? spec_.x.shape[1] : 1;
    for (int64_t i = 0; i < workload::NumElements(spec_.indices); ++i) {
      if (spec_.cache_layout == CacheLayout::kPaged) {
        if (indices[i] >= 0) named[static_cast<size_t>(indices[i])] = true;
      } else {
        for (int64_t s = 0; s < seq; ++s) {
          named[static_cast<size_t>(i * length + indices[i] + s)] = true;
        }
      }
    }
    return named;
  }

  // After Fill(0xFF) and a copy: every byte that must be written is, and no other.
  void ExpectCopied() {
    for (const TensorField& field : kTensorFields) {
      const std::vector<uint8_t>& expected = expected_[static_cast<size_t>(field.id)];
      if (!field.output || expected.empty()) continue;
      ASSERT_EQ(At(field.id).size(), expected.size());
      EXPECT_EQ(std::memcmp(At(field.id).data(), expected.data(), expected.size()), 0)
          << field.name;
    }
  }

 private:
  static bool IsIndex(TensorId id) {
    return id == TensorId::kIndices || id == TensorId::kPositions;
  }

  // Rows are as wide as all kv heads. None named: all are written.
  void ExpectRows(TensorId id, const std::vector<bool>& named) {
    const TensorSpec& tensor = spec_.*kTensorFields[static_cast<size_t>(id)].spec;
    if (!tensor.present()) return;
    const int64_t element = ElementBytes(tensor.dtype);
    const int64_t width = std::max<int64_t>(spec_.size_splits[1], 1);
    std::vector<uint8_t>& expected = expected_[static_cast<size_t>(id)];
    expected.resize(At(id).size());
    int64_t number = 0;
    testing::ForEachElement(tensor, [&](int64_t at) {
      const bool written = named.empty() || named[static_cast<size_t>(number++ / width)];
      if (written) std::memset(expected.data() + at * element, 0xFF, static_cast<size_t>(element));
    });
  }

  Spec spec_;
  Args args_;
  std::array<GuardedBuffer, kNumTensors> buffers_;
  std::array<std::vector<uint8_t>, kNumTensors> expected_;
};

void ExpectExactCopies(const Spec& spec, uint64_t seed = 1) {
  const Result<Plan> plan = MakePlan(spec);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  for (const bool fence_start : {false, true}) {
    Guarded call(spec, fence_start, seed);
    for (const Stores stores : {Stores::kOrdinary, Stores::kStreaming}) {
      for (const int threads : {1, 2, 7}) {
        call.Fill(0xFF);
        CopyFloor(*plan, call.args(), stores, threads);
        call.ExpectCopied();
      }
    }
  }
}

Point PointOf(const workload::Model& model, int64_t tokens, const Variant& variant) {
  Point point;
  point.model = model;
  point.tokens = tokens;
  point.variant = variant;
  return point;
}

TEST(CopyFloor, WritesTheBytesOfEveryModel) {
  for (const workload::Model& model : DistinctShapes()) {
    for (const Variant& variant : Variants()) {
      for (const bool kv_output : {false, true}) {
        SCOPED_TRACE(model.name);
        Point point = PointOf(model, 3, variant);
        point.kv_output = kv_output;
        ExpectExactCopies(SpecOf(point));
      }
    }
  }
}

// The dtypes and layouts of the outputs, each with each.
TEST(CopyFloor, WritesTheBytesOfEveryLayout) {
  const workload::Model& model = *workload::FindModel("Qwen2.5-0.5B");
  for (const Variant& variant : Variants()) {
    for (const DType cache : {DType::kI8, DType::kBF16, DType::kF32}) {
      for (const CacheOrder order :
           {CacheOrder::kTokens, CacheOrder::kHeads, CacheOrder::kBlocks}) {
        for (const bool contiguous : {false, true}) {
          SCOPED_TRACE(::testing::Message() << Name(variant.x) << Name(variant.dtype) << Name(cache)
                                            << static_cast<int>(order));
          Point point = PointOf(model, 2, variant);
          point.cache_dtype = cache;
          point.layout = {order, contiguous};
          point.placement = contiguous ? Placement::kContiguous : Placement::kRandomSlots;
          point.kv_output = order != CacheOrder::kHeads;
          ExpectExactCopies(SpecOf(point));
        }
      }
    }
  }
}

// A row of the table past the one that a position names would be beyond the guard page.
TEST(CopyFloor, ReadsTheRowsOfPositions) {
  for (const bool half_width : {false, true}) {
    Point point = PointOf(*workload::FindModel("GLM-4-9B-Chat"), 5, Variant());
    point.positions = true;
    point.half_width = half_width;
    point.index_dtype = DType::kI64;
    Spec spec = SpecOf(point);
    for (TensorSpec* angles : {&spec.cos, &spec.sin}) angles->shape[0] = 2;
    const Plan plan = MakePlan(spec).value();
    Guarded call(spec, false);
    auto* positions = static_cast<int64_t*>(const_cast<void*>(call.args().positions));
    for (int t = 0; t < 5; ++t) positions[t] = t % 2;
    call.Fill(0xFF);
    CopyFloor(plan, call.args(), Stores::kOrdinary, 1);
    call.ExpectCopied();
  }
}

// Any head count, rows of any length, padding, both layouts and ranks.
TEST(CopyFloor, WritesTheBytesOfRandomShapes) {
  testing::Rng rng(7);
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(i);
    const auto& variants = testing::AllVariants();
    const auto& variant = variants[static_cast<size_t>(i) % variants.size()];
    ExpectExactCopies(testing::SampleSpec(rng, variant, {.max_tokens = 9, .strided = false}),
                      static_cast<uint64_t>(i));
  }
}

// What it writes depends on every byte of x.
TEST(CopyFloor, ReadsAllOfX) {
  workload::Model odd = workload::Models().front();
  odd.q_heads = 3;
  odd.kv_heads = 1;
  odd.head_dim = 10;
  for (const workload::Model& model : {odd, *workload::FindModel("Qwen2.5-0.5B")}) {
    for (const Variant& variant : Variants()) {
      Point point = PointOf(model, 2, variant);
      point.placement = Placement::kContiguous;
      const Spec spec = SpecOf(point);
      const Plan plan = MakePlan(spec).value();
      Guarded call(spec, false);
      GuardedBuffer& x = call.At(TensorId::kX);
      for (size_t i = 0; i < x.size(); i += model.head_dim == 10 ? 1 : 61) {
        call.Fill(0);
        x.data()[i] = 0x80;
        CopyFloor(plan, call.args(), Stores::kOrdinary, 1);
        ASSERT_GT(call.CountWritten(), 0) << i;
      }
    }
  }
}

TEST(CopyFloor, CountsItsBytes) {
  Point point;
  point.model = *workload::FindModel("Llama-3-8B");
  point.tokens = 2;
  const auto bytes = [&] {
    const workload::Case made = CaseOf(point);
    return BytesMoved(MakePlan(made.spec).value(), made.args());
  };
  // bf16: x, q, both caches, cos and sin, indices.
  const int64_t q = 32 * 128, kv = 8 * 128;
  EXPECT_EQ(bytes(), 2 * ((q + 2 * kv) * 2 + q * 2 + 2 * kv + 2 * 128 * 2 + 4));
  point.placement = Placement::kContiguous;
  EXPECT_EQ(bytes(), 2 * ((q + 2 * kv) * 2 + q * 2 + 2 * kv + 2 * 128 * 2) + 4);
  // k and v besides.
  point.kv_output = true;
  EXPECT_EQ(bytes(), 2 * ((q + 2 * kv) * 4 + 2 * kv + 2 * 128 * 2) + 4);
  // i32: x is twice as long, and each token has a scale.
  point.variant = {DType::kI32, DType::kF16, Numerics::kFloat32};
  EXPECT_EQ(bytes(), 2 * ((q + 2 * kv) * 6 + 2 * kv + 2 * 128 * 2 + 4) + 4);
}

TEST(CopyFloor, SkipsPadding) {
  Point point;
  point.model = *workload::FindModel("Llama-3-70B-TP8");
  point.tokens = 4;
  workload::Case made = CaseOf(point);
  const Plan plan = MakePlan(made.spec).value();
  const int64_t all = BytesMoved(plan, made.args());
  made[TensorId::kIndices].as<int32_t>()[2] = -1;
  // Two rows of x that nothing is made of, and two of the caches.
  EXPECT_EQ(all - BytesMoved(plan, made.args()), 2 * 128 * 2 + 2 * 128);
}

}  // namespace
}  // namespace ropekv::bench
