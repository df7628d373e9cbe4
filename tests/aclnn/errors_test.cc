// SPDX-License-Identifier: Apache-2.0
// The first phase: which code and which message each broken rule gives, and in which order.
#include <gtest/gtest.h>

#include <cctype>
#include <functional>
#include <string>
#include <vector>

#include "aclnn/call.h"
#include "support/problem.h"

namespace ropekv::testing {
namespace {

using enum TensorId;

// B = 2, S = 3, Nq = 4, Nkv = 2, D = 16.
Spec SmallSpec() {
  Spec spec;
  spec.x = Dense(DType::kI32, {2, 3, 128});
  spec.cos = spec.sin = Dense(DType::kF16, {2, 3, 1, 16});
  spec.k_cache = spec.v_cache = Dense(DType::kI8, {2, 8, 2, 16});
  spec.indices = Dense(DType::kI32, {2});
  spec.scale_k = spec.scale_v = spec.offset_k = spec.offset_v = Dense(DType::kF32, {2, 16});
  spec.weight_scale = spec.bias = Dense(DType::kF32, {128});
  spec.activation_scale = Dense(DType::kF32, {6});
  spec.q = Dense(DType::kF16, {2, 3, 4, 16});
  spec.k = spec.v = Dense(DType::kF16, {2, 3, 2, 16});
  spec.size_splits = {64, 32, 32};
  spec.kv_output = true;
  spec.numerics = Numerics::kAscend;
  return spec;
}

struct Fixture {
  Fixture() : Fixture(SmallSpec()) {}
  explicit Fixture(const Spec& spec)
      : problem(spec, Flavour::kPlain, 1), call(spec, problem.actual()) {}
  Problem problem;
  AclCall call;
};

struct Rule {
  const char* name;
  std::function<void(AclCall&)> breaks;
  aclnnStatus code;
  const char* culprit;  // begins the message
};

void SetSplits(AclCall& call, std::vector<int64_t> values) {
  call.size_splits.reset(aclCreateIntArray(values.data(), values.size()));
}

auto Absent(TensorId id) {
  return [id](AclCall& call) { call.Remove(id); };
}

auto With(TensorId id, const TensorSpec& spec) {
  return [id, spec](AclCall& call) { call.Replace(id, spec, nullptr); };
}

auto InFormat(TensorId id, aclFormat format) {
  return [id, format](AclCall& call) {
    const int64_t dims[] = {2, 8, 2, 16};
    aclInitTensor(call.tensor(id), dims, 4, ACL_INT8, nullptr, 0, format, dims, 4, nullptr);
  };
}

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
      {"CacheDType", With(kKCache, Dense(f32, {2, 8, 2, 16})), 161002, "kCacheRef"},
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

// What the device does not look at is legal here too.
TEST(PhaseOne, AcceptsWhatTheDeviceAccepts) {
  const std::vector<std::pair<const char*, std::function<void(AclCall&)>>> cases = {
      {"larger bias", With(kBias, Dense(DType::kF32, {8192}))},
      {"larger activation scale", With(kActivationScale, Dense(DType::kF32, {1280}))},
      {"weight scale [1, H]", With(kWeightScale, Dense(DType::kF32, {1, 128}))},
      {"flat scales", With(kScaleK, Dense(DType::kF32, {32}))},
      {"scales in three dimensions", With(kScaleV, Dense(DType::kF32, {2, 1, 16}))},
      {"q in another shape", With(kQ, Dense(DType::kF16, {6, 64}))},
      {"a format of four dimensions", InFormat(kKCache, ACL_FORMAT_NCHW)},
      {"quantMode and layout",
       [](AclCall& call) {
         static char quant_mode[] = "dynamic", layout[] = "?";
         call.quant_mode = quant_mode;
         call.layout = layout;
       }},
      {"an unknown cache mode is contiguous", [](AclCall& call) { call.cache_mode = "pages"; }},
      {"no cache mode", [](AclCall& call) { call.cache_mode = ""; }},
  };
  for (const auto& [name, change] : cases) {
    Fixture fixture;
    change(fixture.call);
    EXPECT_EQ(fixture.call.Prepare(), 0) << name << ": " << TakeMessage();
  }
}

TEST(PhaseOne, CacheModeIgnoresCase) {
  Spec spec = SmallSpec();
  spec.cache_layout = CacheLayout::kPaged;
  spec.indices = Dense(DType::kI32, {6});
  Fixture fixture(spec);
  for (const char* mode : {"page", "PAGE", "Page"}) {
    fixture.call.cache_mode = mode;
    EXPECT_EQ(fixture.call.Prepare(), 0) << mode << TakeMessage();
  }
}

TEST(PhaseOne, NoDequantisationForHalfX) {
  Spec spec = SmallSpec();
  spec.x.dtype = DType::kF16;
  spec.weight_scale = spec.activation_scale = spec.bias = TensorSpec{};
  Fixture fixture(spec);
  With(kBias, Dense(DType::kI32, {5}))(fixture.call);  // ignored, so of any shape
  EXPECT_EQ(fixture.call.Prepare(), 0) << TakeMessage();
}

TEST(PhaseOne, NoTokens) {
  Spec spec = SmallSpec();
  spec.x = Dense(DType::kI32, {0, 128});
  spec.cos = spec.sin = Dense(DType::kF16, {0, 16});
  spec.indices = Dense(DType::kI32, {0});
  spec.activation_scale = Dense(DType::kF32, {0});
  spec.q = Dense(DType::kF16, {0, 4, 16});
  spec.k = spec.v = Dense(DType::kF16, {0, 2, 16});
  Fixture fixture(spec);
  ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
  EXPECT_EQ(fixture.call.Run(nullptr), 0) << TakeMessage();
  EXPECT_EQ(fixture.problem.CompareUntouched(), "");
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
