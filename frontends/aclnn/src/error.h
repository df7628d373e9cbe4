// SPDX-License-Identifier: Apache-2.0
// How calls of the C interface fail: a code for the caller, a message for aclGetRecentErrMsg, and
// no exception past the boundary. A call that succeeds touches none of this but one thread-local.
#ifndef ROPEKV_ACLNN_ERROR_H_
#define ROPEKV_ACLNN_ERROR_H_

#include <exception>
#include <new>
#include <string>

#include "acl/acl_base.h"

namespace ropekv::acl {

// What the aclnn layer answers. Programs define these names themselves, so they stay in here.
inline constexpr int kErrParamNullptr = 161001;
inline constexpr int kErrParamInvalid = 161002;
inline constexpr int kErrRuntime = 361001;
inline constexpr int kErrInner = 561000;
inline constexpr int kErrTiling = 561002;
inline constexpr int kErrFindKernel = 561003;
inline constexpr int kErrInnerNullptr = 561103;

// Which layer a call belongs to: only kRuntime failures are aclrtGetLastError's.
enum class Layer { kRuntime, kAclnn };

namespace internal {
struct CurrentCall {
  const char* function = "";
  Layer layer = Layer::kRuntime;
};
inline thread_local constinit CurrentCall current_call;
}  // namespace internal

// The interface function that this thread is in.
inline const char* CurrentFunction() { return internal::current_call.function; }

// Notes "code function: message" for aclGetRecentErrMsg and returns the code.
[[gnu::format(printf, 2, 3)]] int Fail(int code, const char* format, ...) noexcept;
int FailWith(int code, const std::string& message) noexcept;

// Keep messages per process from now on, instead of per thread.
void ShareErrorMessages(bool share) noexcept;

// In a child made by fork, if the library was called before. Streams have lost their threads there,
// and locks may be held by threads that are gone: nothing but the messages is to be touched.
bool InForkedChild() noexcept;

// Runs the body of an interface function; `failed` is what the function returns if the body throws
// (out of memory, no thread to be had) or must not run.
template <class Value, class Body>
Value Call(Layer layer, const char* function, Value (*failed)(int code), Body&& body) noexcept {
  internal::current_call = {function, layer};
  if (InForkedChild()) {
    return failed(
        Fail(layer == Layer::kAclnn ? kErrRuntime : ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
             "this process was forked from one that uses the library: use it in one of the two, or "
             "exec after fork"));
  }
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return failed(
        Fail(layer == Layer::kAclnn ? kErrInner : ACL_ERROR_BAD_ALLOC, "out of host memory"));
  } catch (const std::exception& error) {
    return failed(
        Fail(layer == Layer::kAclnn ? kErrInner : ACL_ERROR_INTERNAL_ERROR, "%s", error.what()));
  }
}

template <class Body>
int RuntimeCall(const char* function, Body&& body) noexcept {
  return Call<int>(
      Layer::kRuntime, function, [](int code) { return code; }, body);
}

template <class Body>
int AclnnCall(const char* function, Body&& body) noexcept {
  return Call<int>(
      Layer::kAclnn, function, [](int code) { return code; }, body);
}

// For functions that make an object and return null if they cannot.
template <class Object, class Body>
Object* CreateCall(Layer layer, const char* function, Body&& body) noexcept {
  return Call<Object*>(
      layer, function, [](int) -> Object* { return nullptr; }, body);
}

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_ERROR_H_
