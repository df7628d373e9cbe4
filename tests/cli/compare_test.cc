// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/compare.h"

#include <gtest/gtest.h>

#include "workload/generate.h"

namespace ropekv::cli {
namespace {

using workload::Buffers;
using workload::Case;

Case SmallCase(DType dtype) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-70B-TP8");
  options.x = options.dtype = dtype;
  options.batch = 2;
  options.cache = CacheLayout::kPaged;
  return workload::Generate(options);
}

class CompareTest : public testing::Test {
 protected:
  explicit CompareTest(DType dtype = DType::kF16)
      : case_(SmallCase(dtype)), other_(workload::CloneOutputs(case_, 0xA5)) {}

  Difference Compare(const std::string& name) const {
    for (const Difference& difference : CompareOutputs(case_, other_)) {
      if (difference.name == name) return difference;
    }
    ADD_FAILURE() << name << " is not compared";
    return {};
  }

  uint16_t* q() { return case_[TensorId::kQ].as<uint16_t>(); }
  uint16_t* other_q() { return other_[static_cast<int>(TensorId::kQ)].as<uint16_t>(); }

  Case case_;
  Buffers other_;
};

TEST_F(CompareTest, EqualOutputsHaveNoMismatch) {
  const std::vector<Difference> all = CompareOutputs(case_, other_);
  ASSERT_EQ(all.size(), 3u);  // no k and v without kv_output
  for (const Difference& difference : all) {
    EXPECT_GT(difference.elements, 0);
    EXPECT_EQ(difference.mismatches, 0);
    EXPECT_EQ(difference.fraction(), 0);
  }
  EXPECT_EQ(Compare("q").elements, 2 * 8 * 128);
}

TEST_F(CompareTest, FloatsDifferInUlp) {
  q()[0] = 0x3C00, other_q()[0] = 0x3C03;
  q()[130] = 0x0002, other_q()[130] = 0x8001;  // on both sides of zero
  q()[7] = 0x7C00, other_q()[7] = 0x7BFF;      // infinity and the largest
  const Difference difference = Compare("q");
  EXPECT_EQ(difference.mismatches, 3);
  EXPECT_EQ(difference.largest, 4);  // 2, 1, +0, -0, -1
  EXPECT_EQ(difference.nan_mismatches, 0);
  ASSERT_EQ(difference.first.size(), 3u);
  EXPECT_EQ(difference.first[0].index, (std::vector<int64_t>{0, 0, 0, 0}));
  EXPECT_EQ(difference.first[0].actual, "0x3c00");
  EXPECT_EQ(difference.first[0].expected, "0x3c03");
  EXPECT_DOUBLE_EQ(difference.fraction(), 3.0 / 2048);
}

TEST_F(CompareTest, ZerosOfBothSignsDiffer) {
  q()[5] = 0x0000, other_q()[5] = 0x8000;
  EXPECT_EQ(Compare("q").mismatches, 1);
  EXPECT_EQ(Compare("q").largest, 1);
}

TEST_F(CompareTest, NansEqualEachOtherAndNothingElse) {
  q()[5] = 0x7E00, other_q()[5] = 0xFC01;
  EXPECT_EQ(Compare("q").mismatches, 0);
  q()[6] = 0x7C01, other_q()[6] = 0x7C00;
  const Difference difference = Compare("q");
  EXPECT_EQ(difference.mismatches, 1);
  EXPECT_EQ(difference.nan_mismatches, 1);
  ASSERT_EQ(difference.first.size(), 1u);
  EXPECT_EQ(difference.first[0].actual, "nan");
}

class CompareBF16Test : public CompareTest {
 protected:
  CompareBF16Test() : CompareTest(DType::kBF16) {}
};

TEST_F(CompareBF16Test, InfinityIsBF16s) {
  q()[0] = 0x7C01, other_q()[0] = 0x7C00;  // a NaN and an infinity, were they f16
  q()[1] = 0x7F81, other_q()[1] = 0xFFC0;  // NaNs
  const Difference difference = Compare("q");
  EXPECT_EQ(difference.mismatches, 1);
  EXPECT_EQ(difference.largest, 1);
  EXPECT_EQ(difference.nan_mismatches, 0);
}

class CompareF32Test : public CompareTest {
 protected:
  CompareF32Test() : CompareTest(DType::kF32) {}
};

TEST_F(CompareF32Test, HasAllItsBits) {
  auto* const a = case_[TensorId::kQ].as<uint32_t>();
  auto* const e = other_[static_cast<int>(TensorId::kQ)].as<uint32_t>();
  a[0] = 0x3F800000, e[0] = 0x3F900000;
  a[1] = 0x7F800001, e[1] = 0xFFFFFFFF;  // NaNs
  a[2] = 0x80000000, e[2] = 0x00000000;
  Difference difference = Compare("q");
  EXPECT_EQ(difference.elements, 2048);
  EXPECT_EQ(difference.mismatches, 2);
  EXPECT_EQ(difference.largest, 0x100000);
  EXPECT_EQ(difference.first.at(0).actual, "0x3f800000");
  a[2047] = 0xFF800000, e[2047] = 0x7F800000;  // as far apart as two values can be
  difference = Compare("q");
  EXPECT_EQ(difference.largest, 2 * int64_t{0x7F800000} + 1);
  EXPECT_EQ(difference.first.at(2).channel(), 127);
  a[3] = 0x7F800001, e[3] = 0x7F800000;
  EXPECT_EQ(Compare("q").nan_mismatches, 1);
}

// A cache that is not quantised is compared as q is.
TEST(CompareFloatCache, NansEqualEachOther) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-70B-TP8");
  options.cache_dtype = DType::kBF16;
  options.index_dtype = DType::kI64;
  const Case made = workload::Generate(options);
  const Buffers other = workload::CloneOutputs(made, 0xA5);
  made[TensorId::kKCache].as<uint16_t>()[0] = 0x7FC0;
  other[static_cast<int>(TensorId::kKCache)].as<uint16_t>()[0] = 0xFFC1;
  other[static_cast<int>(TensorId::kVCache)].as<uint16_t>()[5] ^= 2;
  const std::vector<Difference> all = CompareOutputs(made, other);
  EXPECT_EQ(all.at(0).mismatches, 0);
  EXPECT_EQ(all.at(0).written, 128);
  EXPECT_EQ(all.at(1).mismatches, 1);
  EXPECT_EQ(all.at(1).largest, 2);
}

TEST_F(CompareTest, Int8DiffersInSteps) {
  int8_t* cache = case_[TensorId::kVCache].as<int8_t>();
  int8_t* other = other_[static_cast<int>(TensorId::kVCache)].as<int8_t>();
  cache[128 + 3] = 127, other[128 + 3] = -128;
  const Difference difference = Compare("v_cache");
  EXPECT_EQ(difference.mismatches, 1);
  EXPECT_EQ(difference.largest, 255);
  ASSERT_EQ(difference.first.size(), 1u);
  EXPECT_EQ(difference.first[0].index, (std::vector<int64_t>{0, 1, 0, 3}));
  EXPECT_EQ(difference.first[0].actual, "127");
  EXPECT_EQ(difference.first[0].expected, "-128");
  EXPECT_EQ(Compare("k_cache").mismatches, 0);
}

TEST_F(CompareTest, PaddingIsNotWritten) {
  EXPECT_EQ(Compare("k_cache").written, 2 * 128);
  case_[TensorId::kIndices].as<int32_t>()[1] = -1;
  EXPECT_EQ(Compare("k_cache").written, 128);
  EXPECT_EQ(Compare("q").written, 2048);
}

TEST_F(CompareTest, SaysWhereTheFirstDifferencesAre) {
  for (int i = 0; i < 5; ++i) other_q()[1024 + 2 * 128 + 7 + i] = 0x3C00;  // token 1, head 2
  const Difference difference = Compare("q");
  EXPECT_EQ(difference.mismatches, 5);
  ASSERT_EQ(difference.first.size(), Difference::kFirst);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(difference.first[i].token, 1);
    EXPECT_EQ(difference.first[i].head(), 2);
    EXPECT_EQ(difference.first[i].channel(), 7 + i);
  }
}

TEST_F(CompareTest, KnowsTheTokenOfASlot) {
  int32_t* slots = case_[TensorId::kIndices].as<int32_t>();
  slots[0] = 3, slots[1] = 1;
  int8_t* cache = case_[TensorId::kKCache].as<int8_t>();
  cache[128 + 5] = static_cast<int8_t>(cache[128 + 5] + 1);
  EXPECT_EQ(Compare("k_cache").first.at(0).token, 1);
  EXPECT_EQ(Compare("k_cache").stray_mismatches, 0);
  slots[1] = -1;
  EXPECT_EQ(Compare("k_cache").first.at(0).token, std::nullopt);
  EXPECT_EQ(Compare("k_cache").stray_mismatches, 1);
}

TEST(CompareContiguous, KnowsTheTokenOfAPosition) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-70B-TP8");
  options.batch = 2;
  options.seq = 3;
  options.past = 9;
  const Case made = workload::Generate(options);
  const int64_t positions = made.spec.k_cache.shape[1];
  const int64_t first = positions + made[TensorId::kIndices].as<int32_t>()[1];
  const Buffers other = workload::CloneOutputs(made, 0xA5);
  int8_t* cache = other[static_cast<int>(TensorId::kVCache)].as<int8_t>();
  for (int64_t slot = first - 1; slot < first + 2; ++slot) {
    cache[slot * 128] = static_cast<int8_t>(cache[slot * 128] + 1);
  }
  const Difference difference = CompareOutputs(made, other).at(1);
  EXPECT_EQ(difference.name, "v_cache");
  EXPECT_EQ(difference.stray_mismatches, 1);
  ASSERT_EQ(difference.first.size(), 3u);
  EXPECT_EQ(difference.first[0].token, std::nullopt);
  EXPECT_EQ(difference.first[1].token, 3);  // the first of the second sequence
  EXPECT_EQ(difference.first[2].token, 4);
}

TEST_F(CompareTest, WhatIsNotExpectedIsNotCompared) {
  other_[static_cast<int>(TensorId::kQ)] = workload::Buffer();
  const std::vector<Difference> some = CompareOutputs(case_, other_);
  ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ(some[0].name, "k_cache");
  EXPECT_EQ(some[1].name, "v_cache");
}

// Of 100 elements.
Difference SomeDifference(int64_t mismatches, int64_t largest) {
  Difference difference;
  difference.elements = difference.written = 100;
  difference.mismatches = mismatches;
  difference.largest = largest;
  return difference;
}

TEST(Tolerance, LimitsStepsAndShare) {
  const Difference off = SomeDifference(10, 2);
  EXPECT_TRUE(Tolerance().Allows(SomeDifference(0, 0)));
  EXPECT_FALSE(Tolerance().Allows(off));
  EXPECT_TRUE((Tolerance{.max_steps = 2}).Allows(off));
  EXPECT_FALSE((Tolerance{.max_steps = 1}).Allows(off));
  EXPECT_TRUE((Tolerance{.max_fraction = 0.1}).Allows(off));
  EXPECT_FALSE((Tolerance{.max_fraction = 0.09}).Allows(off));
  EXPECT_TRUE((Tolerance{.max_steps = 2, .max_fraction = 0.1}).Allows(off));
  EXPECT_FALSE((Tolerance{.max_steps = 1, .max_fraction = 0.1}).Allows(off));
  EXPECT_FALSE((Tolerance{.max_steps = 2, .max_fraction = 0.09}).Allows(off));
  EXPECT_FALSE((Tolerance{.max_steps = 0, .max_fraction = 0}).Allows(off));
}

TEST(Tolerance, NeverAllowsNansAndStrayWrites) {
  const Tolerance all{.max_steps = 255, .max_fraction = 1};
  Difference difference = SomeDifference(10, 2);
  EXPECT_TRUE(all.Allows(difference));
  difference.stray_mismatches = 1;
  EXPECT_FALSE(all.Allows(difference));
  difference.stray_mismatches = 0;
  difference.nan_mismatches = 1;
  EXPECT_FALSE(all.Allows(difference));
}

}  // namespace
}  // namespace ropekv::cli
