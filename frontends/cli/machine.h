// SPDX-License-Identifier: Apache-2.0
// What Linux says of the machine.
#ifndef ROPEKV_FRONTENDS_CLI_MACHINE_H_
#define ROPEKV_FRONTENDS_CLI_MACHINE_H_

#include <cstdint>
#include <string>

namespace ropekv::cli {

// "model name" of the first processor, or "unknown".
std::string ProcessorName();

// The first processor's data or unified cache of a level, 1 to 3, in bytes; 0 if there is none, or
// nothing is known of it. Not from sysconf, which multiplies some by the number of threads.
int64_t CacheBytes(int level);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_MACHINE_H_
