// SPDX-License-Identifier: Apache-2.0
#include "bounds.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "memory.h"

namespace ropekv::acl {
namespace {

struct Range {
  uintptr_t begin;
  uintptr_t end;
};

// False if it does not fit into the address space.
bool Locate(const Extent& extent, const void* first, Range& range) {
  const auto address = reinterpret_cast<uintptr_t>(first);
  return !__builtin_add_overflow(address, extent.low, &range.begin) &&
         !__builtin_add_overflow(address, extent.high, &range.end);
}

std::optional<Block> FindDeviceBlock(uintptr_t address) {
  auto block = MemoryTable::Get().Find(reinterpret_cast<const void*>(address));
  return block && block->kind == MemoryKind::kDevice ? block : std::nullopt;
}

// Asks the kernel, which looks for a signal mask there before it refuses what to do with it.
bool IsReadable(uintptr_t address) {
  constexpr int kNoAction = -1;
  constexpr size_t kMaskBytes = 8;
  const uintptr_t mask = address & ~uintptr_t{kMaskBytes - 1};
  return syscall(SYS_rt_sigprocmask, kNoAction, mask, nullptr, kMaskBytes) == 0 || errno != EFAULT;
}

}  // namespace

Extent ExtentOf(const TensorSpec& spec) {
  int64_t low = 0, high = 1;
  for (int i = 0; i < spec.rank; ++i) {
    if (spec.shape[i] == 0) return {0, 0};
    const int64_t reach = (spec.shape[i] - 1) * spec.stride[i];
    (reach < 0 ? low : high) += reach;
  }
  const int64_t bytes = ElementBytes(spec.dtype);
  return {low * bytes, high * bytes};
}

int CheckBounds(const char* name, const TensorSpec& spec, const Tensor& tensor, void* storage,
                int code) {
  const Extent extent = ExtentOf(spec);
  const void* const first = ViewAddress(tensor, storage);
  if (!first || extent.low == extent.high) return ACL_SUCCESS;  // null is found when the call runs
  const auto offset = static_cast<long long>(tensor.offset);
  int64_t offset_bytes;
  Range range;
  if (__builtin_mul_overflow(offset, ElementBytes(spec.dtype), &offset_bytes) ||
      !Locate(extent, first, range)) {
    return Fail(code, "%s: data %p and offset %lld lead out of the address space", name, storage,
                offset);
  }
  const auto fail = [&](const char* where) {
    return Fail(code, "%s: data %p and offset %lld lead to %zu bytes at %p, %s", name, storage,
                offset, range.end - range.begin, reinterpret_cast<void*>(range.begin), where);
  };
  auto block = FindDeviceBlock(range.begin);
  if (!block) block = FindDeviceBlock(range.end - 1);
  if (block) {
    const bool inside = block->Contains(range.begin) && block->Contains(range.end - 1);
    return inside ? ACL_SUCCESS : fail("of which not all are in one block of device memory");
  }
  const bool readable = offset == 0 || (IsReadable(range.begin) && IsReadable(range.end - 1));
  return readable ? ACL_SUCCESS : fail("where there is no memory");
}

}  // namespace ropekv::acl
