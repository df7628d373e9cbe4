// SPDX-License-Identifier: Apache-2.0
// The first phase: which code and which message each broken rule gives, and in which order.
#include <gtest/gtest.h>

#include <cctype>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "aclnn/changed_call.h"

namespace ropekv::testing {
namespace {

using enum TensorId;

struct Rule {
  const char* name;
  std::function<void(AclCall&)> breaks;
  aclnnStatus code;
  const char* culprit;  // begins the message
};
void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.code; }

std::vector<Rule> Rules() {
  const auto f32 = DType::kF32;
  return {
      {"NullX", Absent(kX), 161001, "x"},
      {"NullCos", Absent(kCos), 161001, "cos"},
      {"NullSin", Absent(kSin), 161001, "sin"},
      {"NullKCache", Absent(kKCache), 161001, "kCacheRef"},
      {"NullVCache", Absent(kVCache), 161001, "vCacheRef"},
      {"NullIndices", Absent(kIndices), 161001, "indices"},
      {"NullScaleK", Absent(kScaleK), 161001, "scaleK"},
      {"NullScaleV", Absent(kScaleV), 161001, "scaleV"},
      {"NullQOut", Absent(kQ), 161001, "qOut"},
      {"NullKOut", Absent(kK), 161001, "kOut"},
      {"NullVOut", Absent(kV), 161001, "vOut"},
      {"NullSplits", [](AclCall& call) { call.size_splits.reset(); }, 161001, "sizeSplits"},
      {"XDType", With(kX, Dense(f32, {2, 3, 128})), 161002, "x"},
      {"CosDType", With(kCos, Dense(f32, {2, 3, 1, 16})), 161002, "cos"},
      {"SinDType", With(kSin, Dense(DType::kBF16, {2, 3, 1, 16})), 161002, "sin"},
      {"XCosDType", With(kX, Dense(DType::kBF16, {2, 3, 128})), 161002, "cos"},
      {"IndicesInt64", With(kIndices, Dense(DType::kI64, {2})), 161002, "indices"},
      {"CacheDType", With(kKCache, Dense(f32, {2, 8, 2, 16})), 161002, "kCacheRef"},
      {"HalfCache", With(kVCache, Dense(DType::kF16, {2, 8, 2, 16})), 161002, "vCacheRef"},
      {"IndicesDType", With(kIndices, Dense(f32, {2})), 161002, "indices"},
      {"ScaleDType", With(kScaleV, Dense(DType::kF16, {2, 16})), 161002, "scaleV"},
      {"QDType", With(kQ, Dense(f32, {2, 3, 4, 16})), 161002, "qOut"},
      {"VDType", With(kV, Dense(DType::kBF16, {2, 3, 2, 16})), 161002, "vOut"},
      {"PrivateFormat", InFormat(kKCache, ACL_FORMAT_FRACTAL_NZ), 161002, "kCacheRef"},
      {"OffsetDType", With(kOffsetK, Dense(DType::kF16, {2, 16})), 561003, "offsetKOptional"},
      {"WeightDType", With(kWeightScale, Dense(DType::kF16, {128})), 561003, "weightScaleOptional"},
      {"ActivationDType", With(kActivationScale, Dense(DType::kF16, {6})), 561003,
       "activationScaleOptional"},
      {"BiasDType", With(kBias, Dense(DType::kI8, {128})), 561003, "biasOptional"},
      {"XRank", With(kX, Dense(DType::kI32, {768})), 561002, "x"},
      {"XRankFour", With(kX, Dense(DType::kI32, {2, 3, 1, 128})), 561002, "x"},
      {"CosShape", With(kCos, Dense(DType::kF16, {2, 3, 16})), 561002, "cos"},
      {"SinShape", With(kSin, Dense(DType::kF16, {2, 3, 1, 8})), 561002, "sin"},
      {"HalfWidth",
       [](AclCall& call) {
         With(kCos, Dense(DType::kF16, {2, 3, 1, 8}))(call);
         With(kSin, Dense(DType::kF16, {2, 3, 1, 8}))(call);
       },
       561002, "cos"},
      {"CacheRank", With(kKCache, Dense(DType::kI8, {16, 2, 16})), 561002, "kCacheRef"},
      {"CacheShapes", With(kVCache, Dense(DType::kI8, {2, 9, 2, 16})), 561002, "vCacheRef"},
      {"CacheRows",
       [](AclCall& call) {
         With(kKCache, Dense(DType::kI8, {1, 16, 2, 16}))(call);
         With(kVCache, Dense(DType::kI8, {1, 16, 2, 16}))(call);
       },
       561002, "kCacheRef"},
      {"IndicesShape", With(kIndices, Dense(DType::kI32, {6})), 561002, "indices"},
      {"IndicesShapePaged", [](AclCall& call) { call.cache_mode = "page"; }, 561002, "indices"},
      {"ScaleShape", With(kScaleK, Dense(f32, {31})), 561002, "scaleK"},
      {"OneScale", With(kScaleK, Dense(f32, {1})), 561002, "scaleK"},
      {"ScaleAHead", With(kScaleV, Dense(f32, {2, 1})), 561002, "scaleV"},
      {"OneOffset", With(kOffsetK, Dense(f32, {1, 1})), 561002, "offsetKOptional"},
      {"OffsetShape", With(kOffsetV, Dense(f32, {33})), 561002, "offsetVOptional"},
      {"NoWeightScale", Absent(kWeightScale), 561002, "weightScaleOptional"},
      {"WeightShape", With(kWeightScale, Dense(f32, {127})), 561002, "weightScaleOptional"},
      {"ActivationShape", With(kActivationScale, Dense(f32, {5})), 561002,
       "activationScaleOptional"},
      {"QTooSmall", With(kQ, Dense(DType::kF16, {2, 3, 3, 16})), 561002, "qOut"},
      {"KTooSmall", With(kK, Dense(DType::kF16, {0})), 561002, "kOut"},
      {"SplitsTwo",
       [](AclCall& call) {
         SetSplits(call, {64, 64});
       },
       561002, "sizeSplits"},
      {"SplitsSum",
       [](AclCall& call) {
         SetSplits(call, {48, 32, 32});
       },
       561002, "sizeSplits"},
      {"SplitsKV",
       [](AclCall& call) {
         SetSplits(call, {64, 48, 16});
       },
       561002, "sizeSplits"},
      {"SplitsNegative",
       [](AclCall& call) {
         SetSplits(call, {-64, 96, 96});
       },
       561002, "sizeSplits"},
      {"SplitsHead",
       [](AclCall& call) {
         SetSplits(call, {65, 32, 31});
       },
       561002, "sizeSplits"},
  };
}

class BrokenRule : public ::testing::TestWithParam<Rule> {};

TEST_P(BrokenRule, GivesItsCodeAndNamesTheArgument) {
  Fixture fixture;
  TakeMessage();
  GetParam().breaks(fixture.call);
  ASSERT_EQ(TakeMessage(), "");
  EXPECT_EQ(fixture.call.Prepare(), GetParam().code);
  const std::string message = TakeMessage();
  const std::string expected =
      std::to_string(GetParam().code) +
      " aclnnDequantRopeQuantKvcacheGetWorkspaceSize: " + GetParam().culprit;
  EXPECT_EQ(message.substr(0, expected.size()), expected) << message;
  for (const char* native : {"k_cache", "v_cache", "scale_", "offset_", "_scale", "size_splits"}) {
    EXPECT_EQ(message.find(native), std::string::npos) << message;
  }
  EXPECT_EQ(fixture.problem.CompareUntouched(), "");
}

INSTANTIATE_TEST_SUITE_P(All, BrokenRule, ::testing::ValuesIn(Rules()),
                         [](const auto& rule) { return std::string(rule.param.name); });

TEST(PhaseOne, NullOutputs) {
  Fixture fixture;
  AclCall& call = fixture.call;
  const auto prepare = [&](uint64_t* size, aclOpExecutor** executor) {
    return aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
        call.tensor(kX), call.tensor(kCos), call.tensor(kSin), call.tensor(kKCache),
        call.tensor(kVCache), call.tensor(kIndices), call.tensor(kScaleK), call.tensor(kScaleV),
        nullptr, nullptr, call.tensor(kWeightScale), nullptr, nullptr, call.size_splits.get(),
        nullptr, nullptr, true, nullptr, call.tensor(kQ), call.tensor(kK), call.tensor(kV), size,
        executor);
  };
  EXPECT_EQ(prepare(nullptr, &call.executor), 161001);
  EXPECT_NE(TakeMessage().find("workspaceSize"), std::string::npos);
  EXPECT_EQ(prepare(&call.workspace_size, nullptr), 161001);
  EXPECT_NE(TakeMessage().find("executor"), std::string::npos);
  EXPECT_EQ(prepare(&call.workspace_size, &call.executor), 0);
  EXPECT_EQ(call.workspace_size, 0u);
}

// Each step of the order hides the next.
TEST(PhaseOne, OrderOfChecks) {
  Fixture fixture;
  SetSplits(fixture.call, {1, 2, 3});
  EXPECT_EQ(fixture.call.Prepare(), 561002);
  With(kBias, Dense(DType::kI8, {128}))(fixture.call);
  EXPECT_EQ(fixture.call.Prepare(), 561003);
  With(kV, Dense(DType::kI8, {2, 3, 2, 16}))(fixture.call);
  EXPECT_EQ(fixture.call.Prepare(), 161002);
  fixture.call.Remove(kScaleV);
  EXPECT_EQ(fixture.call.Prepare(), 161001);
  EXPECT_NE(TakeMessage().find("scaleV"), std::string::npos);
}

TEST(PhaseOne, SuccessLeavesNoMessage) {
  Fixture fixture;
  TakeMessage();
  EXPECT_EQ(fixture.call.Prepare(), 0);
  EXPECT_EQ(TakeMessage(), "");
}

// A bad index is found when the call runs.
TEST(PhaseTwo, BadIndexIsReportedByTheNextSynchronise) {
  Fixture fixture;
  auto* indices = static_cast<int32_t*>(fixture.problem.MutableInput(kIndices));
  indices[0] = 0;
  indices[1] = 6;
  fixture.call.Replace(kIndices, Dense(DType::kI32, {2}), indices);
  ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
  ASSERT_EQ(fixture.call.Prepare(), 0);
  TakeMessage();
  EXPECT_EQ(fixture.call.Launch(nullptr), 0);
  EXPECT_EQ(TakeMessage(), "");
  EXPECT_EQ(aclrtSynchronizeStream(nullptr), 507035);
  const std::string message = TakeMessage();
  for (const char* part :
       {"507035 aclrtSynchronizeStream", "aclnnDequantRopeQuantKvcache: indices", "6", "5"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  EXPECT_EQ(fixture.problem.CompareUntouched(), "");
  EXPECT_EQ(aclrtSynchronizeStream(nullptr), 0) << "reported once";
}

TEST(PhaseTwo, NullDataIsReportedByTheNextSynchronise) {
  Fixture fixture;
  With(kCos, Dense(DType::kF16, {2, 3, 1, 16}))(fixture.call);
  ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
  EXPECT_EQ(fixture.call.Run(nullptr), 507035);
  EXPECT_NE(TakeMessage().find("cos"), std::string::npos);
}

}  // namespace
}  // namespace ropekv::testing
