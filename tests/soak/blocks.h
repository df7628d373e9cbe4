// SPDX-License-Identifier: Apache-2.0
#ifndef ROPEKV_TESTS_SOAK_BLOCKS_H_
#define ROPEKV_TESTS_SOAK_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace ropekv::testing {

// The blocks of the cache that nobody has, as an engine keeps them.
class Blocks {
 public:
  explicit Blocks(int32_t count) {
    for (int32_t block = count - 1; block >= 0; --block) free_.push_back(block);
  }

  std::optional<int32_t> Take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::nullopt;
    const int32_t block = free_.back();
    free_.pop_back();
    return block;
  }

  void Return(const std::vector<int32_t>& blocks) {
    const std::lock_guard lock(mutex_);
    free_.insert(free_.end(), blocks.begin(), blocks.end());
  }

  size_t free() const {
    const std::lock_guard lock(mutex_);
    return free_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<int32_t> free_;
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SOAK_BLOCKS_H_
