// SPDX-License-Identifier: Apache-2.0
// What the functions of the interface, which throw nothing, make of an exception.
#ifndef ROPEKV_PLAN_FAILURE_H_
#define ROPEKV_PLAN_FAILURE_H_

#include <new>
#include <stdexcept>

#include "ropekv/types.h"

namespace ropekv::internal {

// The exception that is being handled, as a Status. There may be no memory left: its texts are so
// short that std::string keeps them in itself.
inline Status StatusOfException() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kOutOfMemory, "memory", "exhausted");
  } catch (const std::length_error&) {  // a std::vector longer than any memory
    return Status(StatusCode::kOutOfMemory, "memory", "exhausted");
  } catch (...) {
    return Status(StatusCode::kInternal, "exception", "unexpected");
  }
}

}  // namespace ropekv::internal

#endif  // ROPEKV_PLAN_FAILURE_H_
