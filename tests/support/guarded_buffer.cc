// SPDX-License-Identifier: Apache-2.0
#include "support/guarded_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace ropekv::testing {
namespace {

void Check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

}  // namespace

GuardedBuffer::GuardedBuffer(size_t size, size_t alignment, bool at_start) : size_(size) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t room = (size + page - 1) / page * page;
  map_size_ = room + 2 * page;
  void* map = mmap(nullptr, map_size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Check(map != MAP_FAILED, "mmap");
  map_ = static_cast<unsigned char*>(map);
  if (room > 0) Check(mprotect(map_ + page, room, PROT_READ | PROT_WRITE) == 0, "mprotect");
  data_ = map_ + page + (at_start ? 0 : (room - size) / alignment * alignment);
}

GuardedBuffer::~GuardedBuffer() {
  if (map_) munmap(map_, map_size_);
}

void GuardedBuffer::Protect() {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t room = map_size_ - 2 * page;
  if (room > 0) Check(mprotect(map_ + page, room, PROT_READ) == 0, "mprotect");
}

}  // namespace ropekv::testing
