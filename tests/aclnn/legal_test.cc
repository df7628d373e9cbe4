// SPDX-License-Identifier: Apache-2.0
// What the first phase accepts, and that no garbage makes it do worse than refuse.
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

#include "aclnn/changed_call.h"
#include "aclnn/fixture.h"
#include "support/rng.h"

namespace ropekv::testing {
namespace {

using enum TensorId;

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
  Shape shape = SmallShape();
  shape.cache_layout = CacheLayout::kPaged;
  Fixture fixture(AscendSpec(shape));
  for (const char* mode : {"page", "PAGE", "Page"}) {
    fixture.call.cache_mode = mode;
    EXPECT_EQ(fixture.call.Prepare(), 0) << mode << TakeMessage();
  }
}

// As many entries as one dimension would have, in row-major order.
TEST(PhaseOne, IndicesMayHaveTwoDimensions) {
  ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
  for (const CacheLayout layout : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
    const bool paged = layout == CacheLayout::kPaged;
    Shape shape = SmallShape();
    shape.cache_layout = layout;
    for (const auto& [rows, columns] :
         {std::pair<int64_t, int64_t>(2, paged ? 3 : 1), {paged ? 6 : 2, 1}}) {
      Spec spec = AscendSpec(shape);
      spec.indices = Dense(DType::kI32, {rows, columns});
      Case test(1, spec);
      EXPECT_EQ(test.call.Run(nullptr), 0) << TakeMessage();
      EXPECT_EQ(test.problem.Compare(), "") << rows << " x " << columns;
      With(kIndices, Dense(DType::kI32, {rows + 1, columns}))(test.call);
      ExpectFailure(test.call.Prepare(), 561002, "indices");
      With(kIndices, Dense(DType::kI32, {rows, columns, 1}))(test.call);
      ExpectFailure(test.call.Prepare(), 561002, "indices");
    }
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
  Shape shape = SmallShape();
  shape.batch = 0;
  shape.seq_len = std::nullopt;
  Fixture fixture(AscendSpec(shape));
  ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
  EXPECT_EQ(fixture.call.Run(nullptr), 0) << TakeMessage();
  EXPECT_EQ(fixture.problem.CompareUntouched(), "");
}

// Device memory with a copy of `bytes` bytes.
class DeviceCopy {
 public:
  DeviceCopy(const void* from, size_t bytes) {
    EXPECT_EQ(aclrtMalloc(&data_, bytes, ACL_MEM_MALLOC_HUGE_FIRST), 0);
    EXPECT_EQ(aclrtMemcpy(data_, bytes, from, bytes, ACL_MEMCPY_HOST_TO_DEVICE), 0);
  }
  ~DeviceCopy() { EXPECT_EQ(aclrtFree(data_), 0); }
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;
  char* data() const { return static_cast<char*>(data_); }

 private:
  void* data_ = nullptr;
};

using Undersized = AclTest;

// The device takes sizes from x and sizeSplits, so that these descriptors may say less than there
// is.
TEST_F(Undersized, DescriptorsOfEnoughMemoryAreLegal) {
  Case test(1, SmallSpec());
  const Args actual = test.problem.actual(), expected = test.problem.expected();
  const DeviceCopy weight(actual.weight_scale, 128 * 4), bias(actual.bias, 128 * 4);
  const DeviceCopy activation(actual.activation_scale, 6 * 4);
  constexpr size_t kQBytes = 2 * 3 * 4 * 16 * 2, kBytes = kQBytes / 2;
  const DeviceCopy q(actual.q, kQBytes), k(actual.k, kBytes), v(actual.v, kBytes);
  test.call.Replace(kWeightScale, Dense(DType::kF32, {100}), weight.data());
  test.call.Replace(kBias, Dense(DType::kF32, {1}), bias.data());
  test.call.Replace(kActivationScale, Dense(DType::kF32, {1, 1}), activation.data());
  test.call.Replace(kQ, Dense(DType::kF16, {4, 16}), q.data());
  test.call.Replace(kK, Dense(DType::kF16, {1}), k.data());
  test.call.Replace(kV, Dense(DType::kF16, {0}), v.data());
  ASSERT_EQ(test.call.Run(stream_), 0) << TakeMessage();
  EXPECT_EQ(std::memcmp(q.data(), expected.q, kQBytes), 0);
  EXPECT_EQ(std::memcmp(k.data(), expected.k, kBytes), 0);
  EXPECT_EQ(std::memcmp(v.data(), expected.v, kBytes), 0);
}

TEST_F(Undersized, OthersAreRefused) {
  Case test(1, SmallSpec());
  const DeviceCopy weight(test.problem.actual().weight_scale, 128 * 4);
  constexpr size_t kPage = size_t{2} << 20;
  void* const near_the_end = weight.data() + kPage - 127 * 4;
  test.call.Replace(kWeightScale, Dense(DType::kF32, {1}), near_the_end);
  ExpectFailure(test.call.Prepare(), 561002, "weightScaleOptional");
  test.call.Replace(kWeightScale, Dense(DType::kF32, {1}), test.problem.actual().weight_scale);
  ExpectFailure(test.call.Prepare(), 561002, "weightScaleOptional");  // host memory
  TensorSpec strided = Dense(DType::kF32, {2});
  strided.stride[0] = int64_t{kPage} / 16;  // 128 of them would not fit
  test.call.Replace(kWeightScale, strided, weight.data());
  ExpectFailure(test.call.Prepare(), 561002, "weightScaleOptional");
  test.call.Replace(kWeightScale, Dense(DType::kF32, {128}), weight.data());
  test.call.Replace(kQ, Dense(DType::kF16, {4, 16}), near_the_end);
  ExpectFailure(test.call.Prepare(), 561002, "qOut");
}

int64_t AnyNumber(Rng& rng) {
  constexpr int64_t kNumbers[] = {0,         1,         2,         3,         4,         6,
                                  8,         16,        32,        64,        96,        128,
                                  1000,      INT32_MAX, 1LL << 31, 1LL << 32, 1LL << 40, 1LL << 62,
                                  INT64_MAX, -1,        -2,        -16,       -128,      INT64_MIN};
  return kNumbers[rng.Int(0, std::size(kNumbers) - 1)];
}

TensorPtr AnyTensor(Rng& rng, aclDataType dtype) {
  int64_t dims[6], strides[6];
  const auto rank = static_cast<uint64_t>(rng.Int(0, 6));
  for (uint64_t i = 0; i < rank; ++i) {
    dims[i] = AnyNumber(rng);
    strides[i] = AnyNumber(rng);
  }
  if (rng.Int(0, 3) == 0) dtype = static_cast<aclDataType>(rng.Int(-1, 45));
  const auto format = static_cast<aclFormat>(rng.Int(0, 5) ? 2 : rng.Int(-1, 60));
  const int64_t* const stride = rng.Int(0, 1) ? strides : nullptr;
  void* const data = reinterpret_cast<void*>(static_cast<uintptr_t>(AnyNumber(rng)));
  return TensorPtr(
      aclCreateTensor(dims, rank, dtype, stride, AnyNumber(rng), format, dims, rank, data));
}

// Whatever the descriptors say, there is an answer: one of the documented codes and its message.
TEST(PhaseOne, GarbageIsRefusedOrPlanned) {
  Rng rng(11);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    Spec spec = SmallSpec();
    if (rng.Int(0, 1)) spec.kv_output = false;
    AclCall call(spec, Args{});
    for (int changes = static_cast<int>(rng.Int(1, 3)); changes > 0; --changes) {
      const auto at = static_cast<size_t>(rng.Int(0, kOperatorFields.size()));
      if (at < kOperatorFields.size()) {
        aclDataType dtype = ACL_FLOAT;
        aclGetDataType(call.tensors[at].get(), &dtype);
        call.tensors[at] = AnyTensor(rng, dtype);
      } else {
        SetSplits(call, {AnyNumber(rng), AnyNumber(rng), AnyNumber(rng)});
      }
    }
    call.cache_mode = rng.Int(0, 1) ? "page" : "contiguous";
    TakeMessage();
    const aclnnStatus code = call.Prepare();
    EXPECT_EQ(TakeMessage().empty(), code == 0);
    if (code == 0) {
      EXPECT_EQ(aclSetAclOpExecutorRepeatable(call.executor), 0);
      EXPECT_EQ(aclDestroyAclOpExecutor(call.executor), 0);
      continue;
    }
    ++refused;
    ASSERT_TRUE(code == 161002 || code == 561002 || code == 561003) << code << " round " << round;
  }
  EXPECT_GT(refused, 10'000);
  EXPECT_LT(refused, 20'000);
}

}  // namespace
}  // namespace ropekv::testing
