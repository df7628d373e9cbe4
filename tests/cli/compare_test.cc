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
  EXPECT_EQ(difference.index, (std::vector<int64_t>{0, 0, 0, 0}));
  EXPECT_EQ(difference.actual, "0x3c00");
  EXPECT_EQ(difference.expected, "0x3c03");
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
  EXPECT_EQ(difference.actual, "nan");
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

TEST_F(CompareTest, Int8DiffersInSteps) {
  int8_t* cache = case_[TensorId::kVCache].as<int8_t>();
  int8_t* other = other_[static_cast<int>(TensorId::kVCache)].as<int8_t>();
  cache[128 + 3] = 127, other[128 + 3] = -128;
  const Difference difference = Compare("v_cache");
  EXPECT_EQ(difference.mismatches, 1);
  EXPECT_EQ(difference.largest, 255);
  EXPECT_EQ(difference.index, (std::vector<int64_t>{0, 1, 0, 3}));
  EXPECT_EQ(difference.actual, "127");
  EXPECT_EQ(difference.expected, "-128");
  EXPECT_EQ(Compare("k_cache").mismatches, 0);
}

TEST_F(CompareTest, PaddingIsNotWritten) {
  EXPECT_EQ(Compare("k_cache").written, 2 * 128);
  case_[TensorId::kIndices].as<int32_t>()[1] = -1;
  EXPECT_EQ(Compare("k_cache").written, 128);
  EXPECT_EQ(Compare("q").written, 2048);
}

}  // namespace
}  // namespace ropekv::cli
