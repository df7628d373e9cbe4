// SPDX-License-Identifier: Apache-2.0
#include "error.h"

struct aclDataBuffer {
  void* data;
  size_t size;
};

namespace ropekv::acl {
namespace {

size_t GetSize(const char* function, const aclDataBuffer* buffer) {
  if (buffer) return buffer->size;
  RuntimeCall(function, [] { return Fail(ACL_ERROR_INVALID_PARAM, "dataBuffer is null"); });
  return 0;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclDataBuffer* aclCreateDataBuffer(void* data, size_t size) {
  return CreateCall<aclDataBuffer>(Layer::kRuntime, __func__, [&] {
    return new aclDataBuffer{data, size};
  });
}

aclError aclDestroyDataBuffer(const aclDataBuffer* dataBuffer) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!dataBuffer) return Fail(ACL_ERROR_INVALID_PARAM, "dataBuffer is null");
    delete dataBuffer;
    return ACL_SUCCESS;
  });
}

aclError aclUpdateDataBuffer(aclDataBuffer* dataBuffer, void* data, size_t size) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!dataBuffer) return Fail(ACL_ERROR_INVALID_PARAM, "dataBuffer is null");
    *dataBuffer = {data, size};
    return ACL_SUCCESS;
  });
}

void* aclGetDataBufferAddr(const aclDataBuffer* dataBuffer) {
  return CreateCall<void>(Layer::kRuntime, __func__, [&]() -> void* {
    if (dataBuffer) return dataBuffer->data;
    Fail(ACL_ERROR_INVALID_PARAM, "dataBuffer is null");
    return nullptr;
  });
}

size_t aclGetDataBufferSizeV2(const aclDataBuffer* dataBuffer) {
  return GetSize(__func__, dataBuffer);
}

uint32_t aclGetDataBufferSize(const aclDataBuffer* dataBuffer) {
  return static_cast<uint32_t>(GetSize(__func__, dataBuffer));
}
