// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <mutex>

#include "check.h"
#include "env.h"
#include "stream.h"

namespace ropekv::acl {
namespace {

constexpr size_t kHostAlignment = 64;
// With ROPEKV_CHECK, how much freed memory is kept so that its use can be told.
constexpr size_t kQuarantineBytes = size_t{256} << 20;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// The kernel would promise more than there is and end the program when it touches it; a device says
// at once that it is out of memory.
size_t MachineBytes() {
  static const size_t bytes = [] {
    struct sysinfo info;
    if (sysinfo(&info) != 0) return SIZE_MAX / 2;
    return static_cast<size_t>(info.totalram + info.totalswap) * info.mem_unit;
  }();
  return bytes;
}

void GiveBack(const Block& block) {
  auto* begin = reinterpret_cast<void*>(block.begin);
  switch (block.kind) {
    case MemoryKind::kDevice: munmap(begin, block.mapped_bytes); break;
    case MemoryKind::kPinnedHost: std::free(begin); break;
    case MemoryKind::kRegisteredHost: break;  // the program's
  }
}

}  // namespace

const char* Name(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::kDevice: return "device";
    case MemoryKind::kPinnedHost: return "aclrtMallocHost";
    case MemoryKind::kRegisteredHost: return "registered host";
  }
  return "unknown";
}

MemoryTable& MemoryTable::Get() {
  static auto& table = *new MemoryTable;
  return table;
}

void* MemoryTable::AllocateDevice(size_t bytes, int32_t device, bool huge_pages) {
  Reclaim();
  // 32 spare bytes, as the device has them, then whole pages.
  if (!HasRoomFor(bytes)) return nullptr;
  const size_t mapped = RoundUp(bytes + 32, kDeviceGranularity);
  void* begin = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED) return nullptr;
  // Small blocks must not cost 2 MiB of real memory each, so they decline huge pages.
  const bool large = bytes > kDeviceGranularity / 2;
  if (!large || huge_pages) madvise(begin, mapped, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  Add({reinterpret_cast<uintptr_t>(begin), bytes, mapped, MemoryKind::kDevice, device});
  return begin;
}

void* MemoryTable::AllocateHost(size_t bytes) {
  if (!HasRoomFor(bytes)) return nullptr;
  const size_t rounded = RoundUp(bytes, kHostAlignment);
  void* begin = std::aligned_alloc(kHostAlignment, rounded);
  if (begin) Add({reinterpret_cast<uintptr_t>(begin), bytes, rounded, MemoryKind::kPinnedHost, 0});
  return begin;
}

bool MemoryTable::Register(void* begin, size_t bytes) {
  const Block block{reinterpret_cast<uintptr_t>(begin), bytes, bytes, MemoryKind::kRegisteredHost,
                    0};
  const std::lock_guard lock(mutex_);
  const auto next = blocks_.lower_bound(block.begin);
  if (next != blocks_.end() && block.Contains(next->second.begin)) return false;
  if (next != blocks_.begin() && std::prev(next)->second.Contains(block.begin)) return false;
  blocks_.emplace(block.begin, block);
  return true;
}

bool MemoryTable::HasRoomFor(size_t bytes) const {
  const std::shared_lock lock(mutex_);
  return bytes <= MachineBytes() && allocated_bytes_ <= MachineBytes() - bytes;
}

void MemoryTable::Add(const Block& block) {
  try {
    const std::lock_guard lock(mutex_);
    blocks_.emplace(block.begin, block);
    allocated_bytes_ += block.bytes;
  } catch (...) {
    GiveBack(block);
    throw;
  }
}

bool MemoryTable::Free(const void* begin, MemoryKind kind) {
  Block block;
  {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(reinterpret_cast<uintptr_t>(begin));
    if (found == blocks_.end() || found->second.kind != kind) return false;
    block = found->second;
    freed_.push_back({block, LastTicket()});  // first, because it may fail
    blocks_.erase(found);
    freed_bytes_ += block.mapped_bytes;
  }
  if (GetEnv().check) CheckFree(block);
  Reclaim();
  return true;
}

void MemoryTable::Reclaim() {
  // A task that is submitted from now on may use blocks that are freed from now on: those wait for
  // the next time.
  const uint64_t last = LastTicket();
  const uint64_t oldest = std::min(OldestTicketOfAll(), last + 1);
  const size_t keep = GetEnv().check ? kQuarantineBytes : 0;
  while (true) {
    Block block;
    {
      const std::lock_guard lock(mutex_);
      if (freed_.empty() || freed_bytes_ <= keep || freed_.front().ticket >= oldest) return;
      block = freed_.front().block;
      freed_.pop_front();
      freed_bytes_ -= block.mapped_bytes;
      if (block.kind != MemoryKind::kRegisteredHost) allocated_bytes_ -= block.bytes;
    }
    GiveBack(block);
  }
}

std::optional<Block> MemoryTable::Find(const void* address) const {
  const auto value = reinterpret_cast<uintptr_t>(address);
  const std::shared_lock lock(mutex_);
  auto next = blocks_.upper_bound(value);
  if (next == blocks_.begin() || !(--next)->second.Contains(value)) return std::nullopt;
  return next->second;
}

std::optional<Block> MemoryTable::FindFreed(const void* address) const {
  const auto value = reinterpret_cast<uintptr_t>(address);
  const std::shared_lock lock(mutex_);
  for (auto freed = freed_.rbegin(); freed != freed_.rend(); ++freed) {
    if (freed->block.Contains(value)) return freed->block;
  }
  return std::nullopt;
}

std::vector<Block> MemoryTable::All() const {
  const std::shared_lock lock(mutex_);
  std::vector<Block> all;
  for (const auto& [begin, block] : blocks_) all.push_back(block);
  return all;
}

}  // namespace ropekv::acl
