// SPDX-License-Identifier: Apache-2.0
// Copies and sets, at once or in stream order.
#include <cstring>

#include "check.h"
#include "context.h"
#include "env.h"
#include "error.h"
#include "memory.h"

namespace ropekv::acl {
namespace {

// Larger copies are worth a second thread.
constexpr size_t kMaxBytesInCaller = 64 << 10;

// One row for plain copies; rows of `width` bytes, `pitch` apart, for two-dimensional ones.
struct Copy {
  void* to;
  size_t to_pitch;
  const void* from;
  size_t from_pitch;
  size_t width;
  size_t height;

  size_t to_bytes() const { return height == 0 ? 0 : (height - 1) * to_pitch + width; }
  size_t from_bytes() const { return height == 0 ? 0 : (height - 1) * from_pitch + width; }

  void Run() const {
    for (size_t row = 0; row < height; ++row) {
      std::memmove(static_cast<char*>(to) + row * to_pitch,
                   static_cast<const char*>(from) + row * from_pitch, width);
    }
  }
};

int CheckCount(size_t count, size_t capacity) {
  if (count <= capacity) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_PARAM_INVALID, "count %zu is more than the destination's %zu bytes",
              count, capacity);
}

int CheckPointers(const void* to, const void* from) {
  if (to && from) return ACL_SUCCESS;
  return Fail(ACL_ERROR_INVALID_PARAM, "%s is null", to ? "src" : "dst");
}

// The direction follows from the pointers; the kind only has to be a legal one.
int CheckKind(aclrtMemcpyKind kind) {
  if (kind >= ACL_MEMCPY_HOST_TO_HOST && kind <= ACL_MEMCPY_HOST_TO_BUF_TO_DEVICE)
    return ACL_SUCCESS;
  return Fail(ACL_ERROR_INVALID_PARAM, "kind %d; expected 0 to %d", kind,
              ACL_MEMCPY_HOST_TO_BUF_TO_DEVICE);
}

int CheckCopy(const Copy& copy, size_t capacity, aclrtMemcpyKind kind) {
  if (const int code = CheckPointers(copy.to, copy.from)) return code;
  if (const int code = CheckCount(copy.width, capacity)) return code;
  return CheckKind(kind);
}

int CheckCopy2d(const Copy& copy, aclrtMemcpyKind kind, bool is_async) {
  if (const int code = CheckPointers(copy.to, copy.from)) return code;
  const bool between = kind == ACL_MEMCPY_HOST_TO_DEVICE || kind == ACL_MEMCPY_DEVICE_TO_HOST;
  const bool extra = kind == ACL_MEMCPY_DEVICE_TO_DEVICE || kind == ACL_MEMCPY_DEFAULT;
  if (!between && !(is_async && extra)) {
    return Fail(ACL_ERROR_INVALID_PARAM, "kind %d; expected %s", kind,
                is_async ? "1 to 4" : "1 (host to device) or 2 (device to host)");
  }
  if (copy.width > copy.to_pitch || copy.width > copy.from_pitch) {
    return Fail(ACL_ERROR_INVALID_PARAM, "width %zu is more than dpitch %zu or spitch %zu",
                copy.width, copy.to_pitch, copy.from_pitch);
  }
  return ACL_SUCCESS;
}

bool IsPageable(const void* address) { return !MemoryTable::Get().Find(address); }

using InUse = std::shared_ptr<const MemoryInUse>;

InUse Check(const Copy& copy) {
  if (!GetEnv().check || copy.width == 0 || copy.height == 0) return nullptr;
  return CheckTransfer({{"dst", copy.to, copy.to_bytes()}, {"src", copy.from, copy.from_bytes()}});
}

InUse Check(const void* to, size_t count) {
  return GetEnv().check ? CheckTransfer({{"devPtr", to, count}}) : nullptr;
}

// `in_use` is held until the work is done.
template <class Work>
int SubmitWork(aclrtStream handle, size_t bytes, bool wait, InUse in_use, Work work) {
  std::shared_ptr<Stream> stream;
  if (const int code = FindStream(handle, stream)) return code;
  const auto task = [work, in_use = std::move(in_use)](Stream&) -> TaskFailure {
    work();
    return {};
  };
  if (!stream->Submit({.may_run_in_caller = bytes <= kMaxBytesInCaller}, task)) {
    return Fail(ACL_ERROR_RT_INVALID_HANDLE, "stream %d is being destroyed", stream->id());
  }
  if (wait) stream->Wait(std::nullopt);
  return ACL_SUCCESS;
}

int SubmitCopy(aclrtStream stream, const Copy& copy) {
  const bool wait = IsPageable(copy.to) || IsPageable(copy.from);
  return SubmitWork(stream, copy.width * copy.height, wait, Check(copy), [copy] { copy.Run(); });
}

int CheckSet(const void* to, size_t capacity, size_t count) {
  if (!to) return Fail(ACL_ERROR_INVALID_PARAM, "devPtr is null");
  return CheckCount(count, capacity);
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtMemcpy(void* dst, size_t destMax, const void* src, size_t count,
                     aclrtMemcpyKind kind) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (count == 0) return ACL_SUCCESS;
    const Copy copy{dst, count, src, count, count, 1};
    if (const int code = CheckCopy(copy, destMax, kind)) return code;
    Check(copy);
    copy.Run();
    return ACL_SUCCESS;
  });
}

aclError aclrtMemcpyAsync(void* dst, size_t destMax, const void* src, size_t count,
                          aclrtMemcpyKind kind, aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (count == 0) return ACL_SUCCESS;
    const Copy copy{dst, count, src, count, count, 1};
    if (const int code = CheckCopy(copy, destMax, kind)) return code;
    if (kind == ACL_MEMCPY_HOST_TO_HOST) {
      return Fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "kind 0 (host to host) has no stream order");
    }
    return SubmitCopy(stream, copy);
  });
}

aclError aclrtMemset(void* devPtr, size_t maxCount, int32_t value, size_t count) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (count == 0) return ACL_SUCCESS;
    if (const int code = CheckSet(devPtr, maxCount, count)) return code;
    Check(devPtr, count);
    std::memset(devPtr, value, count);
    return ACL_SUCCESS;
  });
}

aclError aclrtMemsetAsync(void* devPtr, size_t maxCount, int32_t value, size_t count,
                          aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (count == 0) return ACL_SUCCESS;
    if (const int code = CheckSet(devPtr, maxCount, count)) return code;
    return SubmitWork(stream, count, /*wait=*/false, Check(devPtr, count),
                      [=] { std::memset(devPtr, value, count); });
  });
}

aclError aclrtMemcpy2d(void* dst, size_t dpitch, const void* src, size_t spitch, size_t width,
                       size_t height, aclrtMemcpyKind kind) {
  return RuntimeCall(__func__, [&]() -> aclError {
    const Copy copy{dst, dpitch, src, spitch, width, height};
    if (const int code = CheckCopy2d(copy, kind, /*is_async=*/false)) return code;
    Check(copy);
    copy.Run();
    return ACL_SUCCESS;
  });
}

aclError aclrtMemcpy2dAsync(void* dst, size_t dpitch, const void* src, size_t spitch, size_t width,
                            size_t height, aclrtMemcpyKind kind, aclrtStream stream) {
  return RuntimeCall(__func__, [&]() -> aclError {
    const Copy copy{dst, dpitch, src, spitch, width, height};
    if (const int code = CheckCopy2d(copy, kind, /*is_async=*/true)) return code;
    return SubmitCopy(stream, copy);
  });
}
