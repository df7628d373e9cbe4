// SPDX-License-Identifier: Apache-2.0
// A decode loop: one token a sequence and step, a paged cache, bfloat16. The first phase runs once;
// each step only refreshes the addresses of what changed and repeats the second.
#include <cstring>
#include <vector>

#include "common.h"

namespace {

const int64_t kBatch = 3, kQHeads = 8, kKvHeads = 2, kHeadDim = 64;
const int64_t kHidden = (kQHeads + 2 * kKvHeads) * kHeadDim;
const int64_t kBlocks = 8, kBlockSize = 4;
const int kSteps = 6;
// Where each parameter stands among the operator's inputs.
const size_t kX = 0, kIndices = 5;

uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);  // the values here are exact
}

// Sequence b keeps its tokens in blocks b, b + 3, b + 6 of the pool.
int32_t Slot(int64_t sequence, int step) {
  const int64_t block = sequence + kBatch * (step / kBlockSize);
  return static_cast<int32_t>(block * kBlockSize + step % kBlockSize);
}

float ValueOf(int64_t sequence, int step) { return static_cast<float>(1 + sequence * 8 + step); }

}  // namespace

int main() {
  aclrtStream stream = nullptr;
  REQUIRE(aclInit(nullptr));
  REQUIRE(aclrtSetDevice(0));
  REQUIRE(aclrtCreateStream(&stream));

  // Position 0: cos 1, sin 0, so that values pass through the rotation unchanged.
  void* cos = ToDevice(std::vector<uint16_t>(kBatch * kHeadDim, ToBf16(1.0f)));
  void* sin = ToDevice(std::vector<uint16_t>(kBatch * kHeadDim, 0));
  void* scale = ToDevice(std::vector<float>(kKvHeads * kHeadDim, 1.0f));
  const std::vector<int8_t> empty(kBlocks * kBlockSize * kKvHeads * kHeadDim, 0);
  void *kCache = ToDevice(empty), *vCache = ToDevice(empty);
  void* q = ToDevice(std::vector<uint16_t>(kBatch * kQHeads * kHeadDim, 0));

  std::vector<void*> x, indices;  // of each step
  for (int step = 0; step < kSteps; ++step) {
    std::vector<uint16_t> values;
    std::vector<int32_t> slots;
    for (int64_t b = 0; b < kBatch; ++b) {
      values.insert(values.end(), kHidden, ToBf16(ValueOf(b, step)));
      slots.push_back(Slot(b, step));
    }
    x.push_back(ToDevice(values));
    indices.push_back(ToDevice(slots));
  }

  const std::vector<int64_t> cacheShape = {kBlocks, kBlockSize, kKvHeads, kHeadDim};
  aclTensor* xTensor = Tensor({kBatch, kHidden}, ACL_BF16, x[0]);
  aclTensor* indicesTensor = Tensor({kBatch}, ACL_INT32, indices[0]);
  aclTensor* cosTensor = Tensor({kBatch, kHeadDim}, ACL_BF16, cos);
  aclTensor* sinTensor = Tensor({kBatch, kHeadDim}, ACL_BF16, sin);
  aclTensor* kTensor = Tensor(cacheShape, ACL_INT8, kCache);
  aclTensor* vTensor = Tensor(cacheShape, ACL_INT8, vCache);
  aclTensor* scaleTensor = Tensor({kKvHeads, kHeadDim}, ACL_FLOAT, scale);
  aclTensor* qTensor = Tensor({kBatch, kQHeads, kHeadDim}, ACL_BF16, q);
  aclTensor* none = Tensor({0}, ACL_BF16, nullptr);  // k and v are only wanted in the cache
  const int64_t splits[] = {kQHeads * kHeadDim, kKvHeads * kHeadDim, kKvHeads * kHeadDim};
  aclIntArray* sizeSplits = aclCreateIntArray(splits, 3);
  char cacheMode[] = "page";

  uint64_t workspaceSize = 0;
  aclOpExecutor* executor = nullptr;
  REQUIRE(aclnnDequantRopeQuantKvcacheGetWorkspaceSize(
      xTensor, cosTensor, sinTensor, kTensor, vTensor, indicesTensor, scaleTensor, scaleTensor,
      nullptr, nullptr, nullptr, nullptr, nullptr, sizeSplits, nullptr, nullptr, false, cacheMode,
      qTensor, none, none, &workspaceSize, &executor));
  REQUIRE(aclSetAclOpExecutorRepeatable(executor));
  void* workspace = workspaceSize > 0 ? Malloc(workspaceSize) : nullptr;

  for (int step = 0; step < kSteps; ++step) {
    REQUIRE(aclSetInputTensorAddr(executor, kX, xTensor, x[step]));
    REQUIRE(aclSetInputTensorAddr(executor, kIndices, indicesTensor, indices[step]));
    REQUIRE(aclnnDequantRopeQuantKvcache(workspace, workspaceSize, executor, stream));
  }
  REQUIRE(aclrtSynchronizeStream(stream));
  REQUIRE(aclDestroyAclOpExecutor(executor));

  const std::vector<int8_t> found = ToHost<int8_t>(kCache, empty.size());
  std::vector<int8_t> expected(empty);
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int step = 0; step < kSteps; ++step) {
      const int64_t row = kKvHeads * kHeadDim;
      std::memset(&expected[static_cast<size_t>(Slot(b, step) * row)],
                  static_cast<int>(ValueOf(b, step)), static_cast<size_t>(row));
    }
  }
  const bool good = found == expected;

  for (aclTensor* tensor : {xTensor, indicesTensor, cosTensor, sinTensor, kTensor, vTensor,
                            scaleTensor, qTensor, none}) {
    aclDestroyTensor(tensor);
  }
  aclDestroyIntArray(sizeSplits);
  for (void* data : {cos, sin, scale, kCache, vCache, q}) aclrtFree(data);
  for (void* data : x) aclrtFree(data);
  for (void* data : indices) aclrtFree(data);
  if (workspace != nullptr) aclrtFree(workspace);
  REQUIRE(aclrtDestroyStream(stream));
  REQUIRE(aclrtResetDevice(0));
  REQUIRE(aclFinalize());
  std::printf("paged_decode: %s\n", good ? "as expected" : "WRONG");
  return good ? 0 : 1;
}
