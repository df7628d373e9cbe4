// SPDX-License-Identifier: Apache-2.0
// Two streams and events: one stream brings data in and out, the other one computes. An event makes
// the second wait for the first, another one the first for the second, and a pair of them measures.
#include <vector>

#include "common.h"

int main() {
  const int64_t B = 64, Nq = 4, Nkv = 1, D = 128, H = (Nq + 2 * Nkv) * D;
  const size_t xBytes = B * H * sizeof(aclFloat16), qBytes = B * Nq * D * sizeof(aclFloat16);
  aclrtStream copies = nullptr, compute = nullptr;
  aclrtEvent ready = nullptr, done = nullptr, start = nullptr;
  REQUIRE(aclInit(nullptr));
  REQUIRE(aclrtSetDevice(0));
  REQUIRE(aclrtCreateStream(&copies));
  REQUIRE(aclrtCreateStream(&compute));
  REQUIRE(aclrtCreateEventWithFlag(&start, ACL_EVENT_TIME_LINE));
  REQUIRE(aclrtCreateEventWithFlag(&ready, ACL_EVENT_SYNC | ACL_EVENT_TIME_LINE));
  REQUIRE(aclrtCreateEventWithFlag(&done, ACL_EVENT_SYNC | ACL_EVENT_TIME_LINE));

  // Page-locked, so that copies from and to it do not hold the host up.
  aclFloat16 *hostX = nullptr, *hostQ = nullptr;
  REQUIRE(aclrtMallocHost(reinterpret_cast<void**>(&hostX), xBytes));
  REQUIRE(aclrtMallocHost(reinterpret_cast<void**>(&hostQ), qBytes));
  void *x = Malloc(xBytes), *q = Malloc(qBytes);
  void* cos = ToDevice(std::vector<aclFloat16>(B * D, aclFloatToFloat16(0.5f)));
  void* sin = ToDevice(std::vector<aclFloat16>(B * D, aclFloatToFloat16(0.25f)));
  void* scale = ToDevice(std::vector<float>(Nkv * D, 1.0f));
  std::vector<int32_t> slots;
  for (int32_t b = 0; b < B; ++b) slots.push_back(b);
  void* indices = ToDevice(slots);
  void* cache[] = {ToDevice(std::vector<int8_t>(B * Nkv * D)),
                   ToDevice(std::vector<int8_t>(B * Nkv * D))};

  aclTensor* tensors[] = {Tensor({B, H}, ACL_FLOAT16, x),
                          Tensor({B, D}, ACL_FLOAT16, cos),
                          Tensor({B, D}, ACL_FLOAT16, sin),
                          Tensor({B / 16, 16, Nkv, D}, ACL_INT8, cache[0]),
                          Tensor({B / 16, 16, Nkv, D}, ACL_INT8, cache[1]),
                          Tensor({B}, ACL_INT32, indices),
                          Tensor({Nkv, D}, ACL_FLOAT, scale),
                          Tensor({B, Nq, D}, ACL_FLOAT16, q),
                          Tensor({0}, ACL_FLOAT16, nullptr)};
  const int64_t splits[] = {Nq * D, Nkv * D, Nkv * D};
  aclIntArray* sizeSplits = aclCreateIntArray(splits, 3);
  char cacheMode[] = "page";

  uint64_t workspaceSize = 0;
  void* workspace = nullptr;
  bool good = true;
  float total = 0;
  for (int round = 1; round <= 20; ++round) {
    const float value = static_cast<float>(round);
    for (int64_t i = 0; i < B * H; ++i) hostX[i] = aclFloatToFloat16(value);
    REQUIRE(aclrtRecordEvent(start, copies));
    REQUIRE(aclrtMemcpyAsync(x, xBytes, hostX, xBytes, ACL_MEMCPY_HOST_TO_DEVICE, copies));
    REQUIRE(aclrtRecordEvent(ready, copies));
    REQUIRE(aclrtStreamWaitEvent(compute, ready));
    aclOpExecutor* executor = nullptr;
    REQUIRE(aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
        tensors[0], tensors[1], tensors[2], tensors[3], tensors[4], tensors[5], tensors[6],
        tensors[6], nullptr, nullptr, nullptr, nullptr, nullptr, sizeSplits, nullptr, nullptr,
        false, cacheMode, tensors[7], tensors[8], tensors[8], &workspaceSize, &executor));
    // The same for every round.
    if (workspaceSize > 0 && workspace == nullptr) workspace = Malloc(workspaceSize);
    REQUIRE(aclnnDequantRopeQuantKvcache(workspace, workspaceSize, executor, compute));
    REQUIRE(aclrtRecordEvent(done, compute));
    REQUIRE(aclrtStreamWaitEvent(copies, done));
    REQUIRE(aclrtMemcpyAsync(hostQ, qBytes, q, qBytes, ACL_MEMCPY_DEVICE_TO_HOST, copies));
    REQUIRE(aclrtSynchronizeStream(copies));
    float ms = 0;
    REQUIRE(aclrtEventElapsedTime(&ms, start, done));
    total += ms;
    // Half of the head gets v*cos - v*sin, the other half v*cos + v*sin.
    for (int64_t i = 0; i < B * Nq * D; ++i) {
      const float expected = i % D < D / 2 ? 0.25f * value : 0.75f * value;
      good = good && aclFloat16ToFloat(hostQ[i]) == expected;
    }
  }

  for (aclTensor* tensor : tensors) aclDestroyTensor(tensor);
  aclDestroyIntArray(sizeSplits);
  for (void* data : {x, q, cos, sin, scale, indices, cache[0], cache[1]}) REQUIRE(aclrtFree(data));
  if (workspace != nullptr) REQUIRE(aclrtFree(workspace));
  REQUIRE(aclrtFreeHost(hostX));
  REQUIRE(aclrtFreeHost(hostQ));
  for (aclrtEvent event : {start, ready, done}) REQUIRE(aclrtDestroyEvent(event));
  REQUIRE(aclrtDestroyStream(compute));
  REQUIRE(aclrtDestroyStream(copies));
  REQUIRE(aclrtResetDevice(0));
  REQUIRE(aclFinalize());
  std::printf("two_streams: %s, %.3f ms from start to done\n", good ? "as expected" : "WRONG",
              total);
  return good ? 0 : 1;
}
