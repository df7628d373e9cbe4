// SPDX-License-Identifier: Apache-2.0
// Memory that faults on the first byte read or written outside it.
#ifndef ROPEKV_TESTS_SUPPORT_GUARDED_BUFFER_H_
#define ROPEKV_TESTS_SUPPORT_GUARDED_BUFFER_H_

#include <cstddef>
#include <utility>

namespace ropekv::testing {

//   [guard page][ ... data ][guard page]
// The data ends where the guard begins, rounded down to `alignment`; with at_start it begins where
// the guard ends.
class GuardedBuffer {
 public:
  GuardedBuffer() = default;
  GuardedBuffer(size_t size, size_t alignment, bool at_start = false);
  ~GuardedBuffer();
  GuardedBuffer(GuardedBuffer&& other) noexcept { swap(other); }
  GuardedBuffer& operator=(GuardedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }

  unsigned char* data() const { return data_; }
  size_t size() const { return size_; }
  // Writing faults from now on.
  void Protect();

 private:
  void swap(GuardedBuffer& other) noexcept {
    std::swap(map_, other.map_);
    std::swap(map_size_, other.map_size_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  unsigned char* map_ = nullptr;
  size_t map_size_ = 0;
  unsigned char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_GUARDED_BUFFER_H_
