// SPDX-License-Identifier: Apache-2.0
#include "support/failing_new.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace ropekv::testing {
namespace {

std::atomic<int64_t> countdown{0};  // 0: none fails
std::atomic<bool> failed{false};
std::atomic<int64_t> live{0};

void* Allocate(size_t size, size_t alignment) {
  if (countdown > 0 && --countdown == 0) {
    failed = true;
    throw std::bad_alloc();
  }
  const size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
  ++live;
  return memory;
}

void* AllocateOrNull(size_t size) noexcept {
  try {
    return Allocate(size, alignof(max_align_t));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Release(void* memory) {
  if (!memory) return;
  --live;
  std::free(memory);
}

}  // namespace

void FailAllocation(int64_t n) {
  failed = false;
  countdown = n;
}

bool StopFailing() {
  countdown = 0;
  return failed;
}

int64_t LiveAllocations() { return live; }

}  // namespace ropekv::testing

// The forms for arrays, and those that do not throw, too: those of sanitizers do not call the
// others.
using ropekv::testing::Allocate;
using ropekv::testing::AllocateOrNull;
using ropekv::testing::Release;

void* operator new(size_t size) { return Allocate(size, alignof(max_align_t)); }
void* operator new[](size_t size) { return Allocate(size, alignof(max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return AllocateOrNull(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return AllocateOrNull(size); }
void operator delete(void* memory) noexcept { Release(memory); }
void operator delete[](void* memory) noexcept { Release(memory); }
void operator delete(void* memory, size_t) noexcept { Release(memory); }
void operator delete[](void* memory, size_t) noexcept { Release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { Release(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Release(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { Release(memory); }
