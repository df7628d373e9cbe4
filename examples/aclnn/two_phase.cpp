// SPDX-License-Identifier: Apache-2.0
// One call of aclnnDequantRopeQuantKvcache from start to end: int32 x, float16 cos and sin, and a
// contiguous cache.
//
// The numbers are chosen so that the result can be told in advance: every x dequantises to 3, and
// the angle is 90 degrees (cos 0, sin 1), so that the rotation turns (3, 3) into (-3, 3).
#include <vector>

#include "common.h"

namespace {

// A tensor in device memory.
struct DeviceTensor {
  void* data;
  aclTensor* descriptor;

  template <class T>
  DeviceTensor(const std::vector<T>& values, const std::vector<int64_t>& shape, aclDataType dtype)
      : data(ToDevice(values)), descriptor(Tensor(shape, dtype, data)) {}
  ~DeviceTensor() {
    aclDestroyTensor(descriptor);
    aclrtFree(data);
  }
  DeviceTensor(const DeviceTensor&) = delete;
};

bool Expect(const char* what, double found, double expected) {
  if (found == expected) return true;
  std::printf("%s is %g, expected %g\n", what, found, expected);
  return false;
}

bool Run(aclrtStream stream) {
  const int64_t B = 2, S = 1, Nq = 4, Nkv = 1, D = 32, L = 16, H = (Nq + 2 * Nkv) * D;
  const aclFloat16 zero = 0, one = aclFloatToFloat16(1.0f);
  DeviceTensor x(std::vector<int32_t>(B * S * H, 6), {B, S, H}, ACL_INT32);
  DeviceTensor cos(std::vector<aclFloat16>(B * S * D, zero), {B, S, 1, D}, ACL_FLOAT16);
  DeviceTensor sin(std::vector<aclFloat16>(B * S * D, one), {B, S, 1, D}, ACL_FLOAT16);
  DeviceTensor kCache(std::vector<int8_t>(B * L * Nkv * D, 99), {B, L, Nkv, D}, ACL_INT8);
  DeviceTensor vCache(std::vector<int8_t>(B * L * Nkv * D, 99), {B, L, Nkv, D}, ACL_INT8);
  DeviceTensor indices(std::vector<int32_t>{5, 0}, {B}, ACL_INT32);
  DeviceTensor scaleK(std::vector<float>(Nkv * D, 0.5f), {Nkv, D}, ACL_FLOAT);
  DeviceTensor scaleV(std::vector<float>(Nkv * D, 0.25f), {Nkv, D}, ACL_FLOAT);
  DeviceTensor weightScale(std::vector<float>(H, 0.25f), {H}, ACL_FLOAT);
  DeviceTensor activationScale(std::vector<float>(B * S, 2.0f), {B * S}, ACL_FLOAT);
  DeviceTensor qOut(std::vector<aclFloat16>(B * S * Nq * D, zero), {B, S, Nq, D}, ACL_FLOAT16);
  DeviceTensor kOut(std::vector<aclFloat16>(B * S * Nkv * D, zero), {B, S, Nkv, D}, ACL_FLOAT16);
  DeviceTensor vOut(std::vector<aclFloat16>(B * S * Nkv * D, zero), {B, S, Nkv, D}, ACL_FLOAT16);
  const int64_t splits[] = {Nq * D, Nkv * D, Nkv * D};
  aclIntArray* sizeSplits = aclCreateIntArray(splits, 3);
  char quantMode[] = "static", layout[] = "BSND", cacheMode[] = "contiguous";

  // Phase 1: check and prepare.
  uint64_t workspaceSize = 0;
  aclOpExecutor* executor = nullptr;
  REQUIRE(aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
      x.descriptor, cos.descriptor, sin.descriptor, kCache.descriptor, vCache.descriptor,
      indices.descriptor, scaleK.descriptor, scaleV.descriptor, nullptr, nullptr,
      weightScale.descriptor, activationScale.descriptor, nullptr, sizeSplits, quantMode, layout,
      true, cacheMode, qOut.descriptor, kOut.descriptor, vOut.descriptor, &workspaceSize,
      &executor));
  void* workspace = workspaceSize > 0 ? Malloc(workspaceSize) : nullptr;

  // Phase 2: run.
  REQUIRE(aclnnDequantRopeQuantKvcache(workspace, workspaceSize, executor, stream));
  REQUIRE(aclrtSynchronizeStream(stream));

  const std::vector<aclFloat16> q = ToHost<aclFloat16>(qOut.data, B * S * Nq * D);
  const std::vector<aclFloat16> v = ToHost<aclFloat16>(vOut.data, B * S * Nkv * D);
  const std::vector<int8_t> k = ToHost<int8_t>(kCache.data, B * L * Nkv * D);
  const std::vector<int8_t> values = ToHost<int8_t>(vCache.data, B * L * Nkv * D);
  const size_t row = 5 * Nkv * D;  // batch 0 is written at position 5
  const bool good = Expect("qOut[0]", aclFloat16ToFloat(q[0]), -3) &&
                    Expect("qOut[D/2]", aclFloat16ToFloat(q[D / 2]), 3) &&
                    Expect("vOut[0]", aclFloat16ToFloat(v[0]), 3) &&
                    Expect("kCache[0, 5, 0, 0]", k[row], -6) &&
                    Expect("kCache[0, 5, 0, D/2]", k[row + D / 2], 6) &&
                    Expect("vCache[0, 5, 0, 0]", values[row], 12) &&
                    Expect("kCache[0, 4, 0, 0]", k[row - D], 99) &&
                    Expect("kCache[1, 0, 0, 0]", k[L * Nkv * D], -6);
  aclDestroyIntArray(sizeSplits);
  if (workspace != nullptr) aclrtFree(workspace);
  return good;
}

}  // namespace

int main() {
  const int32_t deviceId = 0;
  aclrtStream stream = nullptr;
  REQUIRE(aclInit(nullptr));
  REQUIRE(aclrtSetDevice(deviceId));
  REQUIRE(aclrtCreateStream(&stream));
  const bool good = Run(stream);
  REQUIRE(aclrtDestroyStream(stream));
  REQUIRE(aclrtResetDevice(deviceId));
  REQUIRE(aclFinalize());
  std::printf("two_phase: %s\n", good ? "as expected" : "WRONG");
  return good ? 0 : 1;
}
