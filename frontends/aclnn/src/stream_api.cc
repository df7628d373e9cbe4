// SPDX-License-Identifier: Apache-2.0
#include "context.h"
#include "error.h"
#include "stream.h"

namespace ropekv::acl {
namespace {

int DestroyStreamCall(aclrtStream handle, bool drop_tasks) {
  if (!handle) return Fail(ACL_ERROR_INVALID_PARAM, "stream is null");
  std::shared_ptr<Stream> stream;
  if (const int code = FindStream(handle, stream)) return code;
  const std::shared_ptr<Context> context = ContextTable::Get().Find(stream->context());
  if (context && context->default_stream == handle) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "%p is the default stream of its context", handle);
  }
  if (DestroyStream(handle, *stream, drop_tasks)) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_INVALID_HANDLE, "%p is no longer a stream", handle);
}

int SynchroniseStream(aclrtStream handle, int32_t timeout_ms) {
  std::shared_ptr<Stream> stream;
  if (const int code = FindStream(handle, stream)) return code;
  return stream->Synchronise(DeadlineAfter(timeout_ms));
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtCreateStream(aclrtStream* stream) {
  return RuntimeCall(__func__, [&] { return CreateStream(0, stream); });
}

aclError aclrtCreateStreamWithConfig(aclrtStream* stream, uint32_t /*priority*/, uint32_t flag) {
  return RuntimeCall(__func__, [&] { return CreateStream(flag, stream); });
}

aclError aclrtDestroyStream(aclrtStream stream) {
  return RuntimeCall(__func__, [&] { return DestroyStreamCall(stream, /*drop_tasks=*/false); });
}

aclError aclrtDestroyStreamForce(aclrtStream stream) {
  return RuntimeCall(__func__, [&] { return DestroyStreamCall(stream, /*drop_tasks=*/true); });
}

aclError aclrtSynchronizeStream(aclrtStream stream) {
  return RuntimeCall(__func__, [&] { return SynchroniseStream(stream, -1); });
}

aclError aclrtSynchronizeStreamWithTimeout(aclrtStream stream, int32_t timeout) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (timeout < -1)
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "timeout %d; expected -1 or ms", timeout);
    return SynchroniseStream(stream, timeout);
  });
}

aclError aclrtStreamQuery(aclrtStream stream, aclrtStreamStatus* status) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!status) return Fail(ACL_ERROR_INVALID_PARAM, "status is null");
    std::shared_ptr<Stream> found;
    if (const int code = FindStream(stream, found)) return code;
    *status = found->idle() ? ACL_STREAM_STATUS_COMPLETE : ACL_STREAM_STATUS_NOT_READY;
    return ACL_SUCCESS;
  });
}

aclError aclrtSetStreamFailureMode(aclrtStream stream, uint64_t mode) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (mode != ACL_CONTINUE_ON_FAILURE && mode != ACL_STOP_ON_FAILURE) {
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "mode %llu; expected 0 (continue) or 1 (stop)",
                  static_cast<unsigned long long>(mode));
    }
    std::shared_ptr<Stream> found;
    if (const int code = FindStream(stream, found)) return code;
    if (found->SetStopOnFailure(mode == ACL_STOP_ON_FAILURE)) return ACL_SUCCESS;
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "the mode of stream %d has been set before",
                found->id());
  });
}

aclError aclrtStreamGetId(aclrtStream stream, int32_t* streamId) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!streamId) return Fail(ACL_ERROR_INVALID_PARAM, "streamId is null");
    std::shared_ptr<Stream> found;
    if (const int code = FindStream(stream, found)) return code;
    *streamId = found->id();
    return ACL_SUCCESS;
  });
}
