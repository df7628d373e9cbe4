// SPDX-License-Identifier: Apache-2.0
// The checker of ROPEKV_CHECK=1: what a device would answer with corruption, as one line a finding
// on stderr. Callers look at GetEnv().check first, so that it costs nothing when off.
#ifndef ROPEKV_ACLNN_CHECK_H_
#define ROPEKV_ACLNN_CHECK_H_

#include <cstddef>
#include <initializer_list>
#include <memory>

#include "executor.h"
#include "memory.h"

namespace ropekv::acl {

// Notes, for as long as it lives, that a task uses some memory.
class MemoryInUse;

// Reports tensors that are not within one block of device memory.
std::shared_ptr<const MemoryInUse> CheckLaunch(const OperatorInfo& op, const Spec& spec,
                                               const Args& args);

// One side of a copy, or what is set.
struct Span {
  const char* name;
  const void* address;
  size_t bytes;
};
// Reports spans that begin in a block of memory and go past its end, or that were freed.
std::shared_ptr<const MemoryInUse> CheckTransfer(std::initializer_list<Span> spans);

// Reports if a queued task uses the block.
void CheckFree(const Block& block);
// Reports what the program has not given back.
void CheckLeaks();

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_CHECK_H_
