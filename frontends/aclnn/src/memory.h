// SPDX-License-Identifier: Apache-2.0
// The account of device and host memory.
#ifndef ROPEKV_ACLNN_MEMORY_H_
#define ROPEKV_ACLNN_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <shared_mutex>
#include <vector>

namespace ropekv::acl {

enum class MemoryKind : uint8_t { kDevice, kPinnedHost, kRegisteredHost };

const char* Name(MemoryKind kind);

// What the device allocates in. Programs rely on it without knowing: those whose tensors are larger
// than their buffers work on the device as long as the excess stays within the page.
inline constexpr size_t kDeviceGranularity = size_t{2} << 20;

struct Block {
  uintptr_t begin = 0;
  size_t bytes = 0;         // as asked for
  size_t mapped_bytes = 0;  // what may be touched
  MemoryKind kind = MemoryKind::kDevice;
  int32_t device = 0;

  bool Contains(uintptr_t address) const { return address - begin < mapped_bytes; }
};

// Thread-safe.
class MemoryTable {
 public:
  static MemoryTable& Get();

  // Null when out of memory. `huge_pages` is a hint to the kernel.
  void* AllocateDevice(size_t bytes, int32_t device, bool huge_pages);
  void* AllocateHost(size_t bytes);
  // False if an address of the range is in the table already.
  bool Register(void* begin, size_t bytes);

  // Takes the block out of the table; its memory is given back when no task that was submitted
  // before can use it any more. False if no block of that kind begins there.
  bool Free(const void* begin, MemoryKind kind);

  std::optional<Block> Find(const void* address) const;
  // A block that was freed lately and covers the address (ROPEKV_CHECK only).
  std::optional<Block> FindFreed(const void* address) const;
  std::vector<Block> All() const;

 private:
  struct FreedBlock {
    Block block;
    uint64_t ticket;  // the last task submitted when it was freed
  };

  bool HasRoomFor(size_t bytes) const;
  void Add(const Block& block);
  void Reclaim();

  mutable std::shared_mutex mutex_;
  std::map<uintptr_t, Block> blocks_;
  std::deque<FreedBlock> freed_;  // oldest first
  size_t freed_bytes_ = 0;
  size_t allocated_bytes_ = 0;  // those that await their release included
};

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_MEMORY_H_
