// SPDX-License-Identifier: Apache-2.0
// How many threads there are to share a call among.
#ifndef ROPEKV_RUN_THREADS_H_
#define ROPEKV_RUN_THREADS_H_

#include <cstdint>

namespace ropekv::internal {

// The processors' worth of time that the control groups of this process leave it, rounded up; 0 if
// they set no limit or cannot be read. `root` comes before /proc and /sys: "" but in tests. Needs
// no memory but 3 KiB of stack.
int64_t ProcessorQuota(const char* root) noexcept;

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_THREADS_H_
