// SPDX-License-Identifier: Apache-2.0
#include "data_buffer.h"

#include <utility>

#include "error.h"

namespace ropekv::acl {
namespace {

int Find(const aclDataBuffer* handle, std::shared_ptr<DataBuffer>& buffer) {
  if (!handle) return Fail(ACL_ERROR_INVALID_PARAM, "dataBuffer is null");
  buffer = DataBufferTable::Get().Find(handle);
  if (buffer) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_INVALID_HANDLE, "%p is not an aclDataBuffer, or has been destroyed",
              static_cast<const void*>(handle));
}

// For the getters, which return nothing if they fail.
DataBuffer Get(const char* function, const aclDataBuffer* handle) {
  DataBuffer copy{};
  RuntimeCall(function, [&]() -> int {
    std::shared_ptr<DataBuffer> buffer;
    if (const int code = Find(handle, buffer)) return code;
    copy = *buffer;
    return ACL_SUCCESS;
  });
  return copy;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclDataBuffer* aclCreateDataBuffer(void* data, size_t size) {
  return CreateCall<aclDataBuffer>(Layer::kRuntime, __func__, [&] {
    auto buffer = std::make_shared<DataBuffer>(DataBuffer{data, size});
    return static_cast<aclDataBuffer*>(DataBufferTable::Get().Insert(std::move(buffer)));
  });
}

aclError aclDestroyDataBuffer(const aclDataBuffer* dataBuffer) {
  return RuntimeCall(__func__, [&]() -> aclError {
    std::shared_ptr<DataBuffer> buffer;
    if (const int code = Find(dataBuffer, buffer)) return code;
    DataBufferTable::Get().Remove(dataBuffer);
    return ACL_SUCCESS;
  });
}

aclError aclUpdateDataBuffer(aclDataBuffer* dataBuffer, void* data, size_t size) {
  return RuntimeCall(__func__, [&]() -> aclError {
    auto changed = std::make_shared<DataBuffer>(DataBuffer{data, size});
    if (DataBufferTable::Get().Replace(dataBuffer, changed)) return ACL_SUCCESS;
    return Find(dataBuffer, changed);  // says what it is not
  });
}

void* aclGetDataBufferAddr(const aclDataBuffer* dataBuffer) {
  return Get(__func__, dataBuffer).data;
}

size_t aclGetDataBufferSizeV2(const aclDataBuffer* dataBuffer) {
  return Get(__func__, dataBuffer).size;
}

uint32_t aclGetDataBufferSize(const aclDataBuffer* dataBuffer) {
  return static_cast<uint32_t>(Get(__func__, dataBuffer).size);
}
