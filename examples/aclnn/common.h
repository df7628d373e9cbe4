// SPDX-License-Identifier: Apache-2.0
// What the examples share. C++11, no library but the toolkit's.
#ifndef EXAMPLES_ACLNN_COMMON_H_
#define EXAMPLES_ACLNN_COMMON_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "acl/acl.h"
#include "aclnnop/aclnn_dequant_rope_quant_kvcache.h"

// Ends the program with the reason if a call fails.
#define REQUIRE(call) Require((call), #call)

inline void Require(int code, const char* call) {
  if (code == ACL_SUCCESS) return;
  const char* message = aclGetRecentErrMsg();
  std::printf("%s: %d %s\n", call, code, message != nullptr ? message : "");
  std::exit(1);
}

inline void* Malloc(size_t bytes) {
  void* data = nullptr;
  REQUIRE(aclrtMalloc(&data, bytes, ACL_MEM_MALLOC_HUGE_FIRST));
  return data;
}

// A copy in device memory.
template <class T>
void* ToDevice(const std::vector<T>& values) {
  const size_t bytes = values.size() * sizeof(T);
  void* data = Malloc(bytes);
  REQUIRE(aclrtMemcpy(data, bytes, values.data(), bytes, ACL_MEMCPY_HOST_TO_DEVICE));
  return data;
}

template <class T>
std::vector<T> ToHost(const void* data, size_t count) {
  std::vector<T> values(count);
  const size_t bytes = count * sizeof(T);
  REQUIRE(aclrtMemcpy(values.data(), bytes, data, bytes, ACL_MEMCPY_DEVICE_TO_HOST));
  return values;
}

// The descriptor of a row-major tensor.
inline aclTensor* Tensor(const std::vector<int64_t>& shape, aclDataType dtype, void* data) {
  aclTensor* tensor = aclCreateTensor(shape.data(), shape.size(), dtype, nullptr, 0, ACL_FORMAT_ND,
                                      shape.data(), shape.size(), data);
  if (tensor == nullptr) Require(-1, "aclCreateTensor");
  return tensor;
}

#endif  // EXAMPLES_ACLNN_COMMON_H_
