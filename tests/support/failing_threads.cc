// SPDX-License-Identifier: Apache-2.0
#include "support/failing_threads.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

namespace {

std::atomic<bool> failing{false};
std::atomic<int> refusals{0};

}  // namespace

namespace ropekv::testing {

NoThreads::NoThreads() {
  refusals = 0;
  failing = true;
}
NoThreads::~NoThreads() { failing = false; }
int NoThreads::refused() const { return refusals; }

}  // namespace ropekv::testing

extern "C" __attribute__((visibility("default"))) int pthread_create(
    pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) {
  if (failing) {
    ++refusals;
    return EAGAIN;
  }
  static const auto create =
      reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, run, argument);
}
