// SPDX-License-Identifier: Apache-2.0
// C++ overloads of runtime calls, so that callers need no casts.
#ifndef ACL_ACL_RT_API_H_
#define ACL_ACL_RT_API_H_

#include "acl/acl_rt.h"

#ifdef __cplusplus

template <typename T>
inline aclError aclrtMalloc(T** devPtr, size_t size, aclrtMemMallocPolicy policy) {
  return ::aclrtMalloc(reinterpret_cast<void**>(devPtr), size, policy);
}

inline aclError aclrtCreateStream(aclrtStream* stream, uint32_t priority, uint32_t flag) {
  return ::aclrtCreateStreamWithConfig(stream, priority, flag);
}

inline aclError aclrtSynchronizeStream(aclrtStream stream, int32_t timeout) {
  return ::aclrtSynchronizeStreamWithTimeout(stream, timeout);
}

inline aclError aclrtMemcpy(void* dst, size_t destMax, const void* src, size_t count,
                            aclrtMemcpyKind kind, aclrtStream stream) {
  return ::aclrtMemcpyAsync(dst, destMax, src, count, kind, stream);
}

#endif  // __cplusplus

#endif  // ACL_ACL_RT_API_H_
