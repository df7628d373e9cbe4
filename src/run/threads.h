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

// MaxThreads, counted anew.
int CountThreads(const char* root) noexcept;

// Among how many threads a call of `tokens` is shared. `num_threads` is that of RunOptions.
int64_t ChooseThreads(int64_t tokens, int64_t bytes_per_token, int num_threads) noexcept;

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_THREADS_H_
