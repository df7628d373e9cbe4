// SPDX-License-Identifier: Apache-2.0
#include "context.h"

#include <map>
#include <mutex>

#include "env.h"
#include "error.h"

namespace ropekv::acl {
namespace {

thread_local constinit aclrtContext current_context = nullptr;

// The context that all threads share which called aclrtSetDevice, and how often they did.
struct Device {
  aclrtContext context = nullptr;
  int64_t references = 0;
};

std::mutex devices_mutex;

std::map<int32_t, Device>& Devices() {
  static auto& devices = *new std::map<int32_t, Device>;
  return devices;
}

// The handle is needed by the stream, which the context needs: the context is filled in last.
aclrtContext NewContext(int32_t device, bool of_device) {
  auto context = std::make_shared<Context>(Context{device, of_device, nullptr, nullptr});
  void* const handle = ContextTable::Get().Insert(context);
  try {
    context->stream = std::make_shared<Stream>(handle, device, 0);
    context->default_stream = StreamTable::Get().Insert(context->stream);
  } catch (...) {
    ContextTable::Get().Remove(handle);
    throw;
  }
  return handle;
}

// Without memory, so that it cannot fail half-way.
void ReleaseContext(aclrtContext context, bool drop_tasks) {
  ContextTable::Get().Remove(context);
  const auto is_inside = [&](const Stream& stream) { return stream.context() == context; };
  while (true) {
    const auto [handle, stream] = StreamTable::Get().FindIf(is_inside);
    if (!stream) return;
    DestroyStream(handle, *stream, drop_tasks);
  }
}

int ResetDevice(int32_t device, bool force) {
  if (const int code = CheckDevice(device)) return code;
  aclrtContext released = nullptr;
  {
    const std::lock_guard lock(devices_mutex);
    Device& entry = Devices()[device];
    if (entry.references == 0) {
      return Fail(ACL_ERROR_RT_CONTEXT_RELEASE_ERROR, "device %d was not set, or has been reset",
                  device);
    }
    entry.references = force ? 0 : entry.references - 1;
    if (entry.references == 0) std::swap(released, entry.context);
  }
  if (released) ReleaseContext(released, /*drop_tasks=*/force);
  return ACL_SUCCESS;
}

int SynchroniseCurrentDevice(int32_t timeout_ms) {
  std::shared_ptr<Context> context;
  if (const int code = FindCurrentContext(context)) return code;
  return SynchroniseDevice(context->device, DeadlineAfter(timeout_ms));
}

}  // namespace

int CheckDevice(int32_t device) {
  const int32_t count = GetEnv().device_count;
  if (device >= 0 && device < count) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_INVALID_DEVICEID, "device %d; there are devices 0 to %d", device,
              count - 1);
}

std::shared_ptr<Context> CurrentContextOrNull() {
  return ContextTable::Get().Find(current_context);
}

int FindCurrentContext(std::shared_ptr<Context>& context) {
  context = CurrentContextOrNull();
  if (context) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_CONTEXT_NULL,
              "this thread has no context: call aclrtSetDevice or aclrtSetCurrentContext");
}

int FindStream(aclrtStream handle, std::shared_ptr<Stream>& stream) {
  if (handle) {
    stream = StreamTable::Get().Find(handle);
    if (stream) return ACL_SUCCESS;
    return Fail(ACL_ERROR_RT_INVALID_HANDLE, "%p is not a stream, or no longer", handle);
  }
  std::shared_ptr<Context> context;
  if (const int code = FindCurrentContext(context)) return code;
  stream = context->stream;
  return ACL_SUCCESS;
}

int CreateStream(uint32_t flags, aclrtStream* stream) {
  if (!stream) return Fail(ACL_ERROR_INVALID_PARAM, "stream is null");
  std::shared_ptr<Context> context;
  if (const int code = FindCurrentContext(context)) return code;
  *stream =
      StreamTable::Get().Insert(std::make_shared<Stream>(current_context, context->device, flags));
  return ACL_SUCCESS;
}

bool DestroyStream(aclrtStream handle, Stream& stream, bool drop_tasks) {
  // Closed while it still has its handle, so that memory its tasks use is not given back.
  stream.Close(drop_tasks);
  return StreamTable::Get().Remove(handle) != nullptr;
}

int SynchroniseDevice(int32_t device, const Deadline& deadline) {
  int first_failure = ACL_SUCCESS;
  for (const auto& [handle, stream] : StreamTable::Get().All()) {
    if (stream->device() != device) continue;
    const int code = stream->Synchronise(deadline);
    if (first_failure == ACL_SUCCESS) first_failure = code;
  }
  return first_failure;
}

}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtSetDevice(int32_t deviceId) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (const int code = CheckDevice(deviceId)) return code;
    const std::lock_guard lock(devices_mutex);
    Device& device = Devices()[deviceId];
    if (!device.context) device.context = NewContext(deviceId, /*of_device=*/true);
    ++device.references;
    current_context = device.context;
    return ACL_SUCCESS;
  });
}

aclError aclrtResetDevice(int32_t deviceId) {
  return RuntimeCall(__func__, [&] { return ResetDevice(deviceId, /*force=*/false); });
}

aclError aclrtResetDeviceForce(int32_t deviceId) {
  return RuntimeCall(__func__, [&] { return ResetDevice(deviceId, /*force=*/true); });
}

aclError aclrtGetDevice(int32_t* deviceId) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!deviceId) return Fail(ACL_ERROR_INVALID_PARAM, "deviceId is null");
    std::shared_ptr<Context> context;
    if (const int code = FindCurrentContext(context)) return code;
    *deviceId = context->device;
    return ACL_SUCCESS;
  });
}

aclError aclrtSynchronizeDevice() {
  return RuntimeCall(__func__, [] { return SynchroniseCurrentDevice(-1); });
}

aclError aclrtSynchronizeDeviceWithTimeout(int32_t timeout) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (timeout < -1)
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "timeout %d; expected -1 or ms", timeout);
    return SynchroniseCurrentDevice(timeout);
  });
}

aclError aclrtCreateContext(aclrtContext* context, int32_t deviceId) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!context) return Fail(ACL_ERROR_INVALID_PARAM, "context is null");
    if (const int code = CheckDevice(deviceId)) return code;
    current_context = *context = NewContext(deviceId, /*of_device=*/false);
    return ACL_SUCCESS;
  });
}

aclError aclrtDestroyContext(aclrtContext context) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!context) return Fail(ACL_ERROR_INVALID_PARAM, "context is null");
    const std::shared_ptr<Context> found = ContextTable::Get().Find(context);
    if (!found) {
      return Fail(ACL_ERROR_RT_INVALID_HANDLE, "%p is not a context, or no longer", context);
    }
    if (found->of_device) {
      return Fail(ACL_ERROR_RT_PARAM_INVALID,
                  "%p is the default context of device %d: aclrtResetDevice releases it", context,
                  found->device);
    }
    ReleaseContext(context, /*drop_tasks=*/false);
    return ACL_SUCCESS;
  });
}

aclError aclrtSetCurrentContext(aclrtContext context) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!context) return Fail(ACL_ERROR_INVALID_PARAM, "context is null");
    if (!ContextTable::Get().Find(context)) {
      return Fail(ACL_ERROR_RT_INVALID_HANDLE, "%p is not a context, or no longer", context);
    }
    current_context = context;
    return ACL_SUCCESS;
  });
}

aclError aclrtGetCurrentContext(aclrtContext* context) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!context) return Fail(ACL_ERROR_INVALID_PARAM, "context is null");
    std::shared_ptr<Context> found;
    if (const int code = FindCurrentContext(found)) return code;
    *context = current_context;
    return ACL_SUCCESS;
  });
}

aclError aclrtCtxGetCurrentDefaultStream(aclrtStream* stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!stream) return Fail(ACL_ERROR_INVALID_PARAM, "stream is null");
    std::shared_ptr<Context> context;
    if (const int code = FindCurrentContext(context)) return code;
    *stream = context->default_stream;
    return ACL_SUCCESS;
  });
}
