// SPDX-License-Identifier: Apache-2.0
// Devices, contexts and which context a thread works in.
#ifndef ROPEKV_ACLNN_CONTEXT_H_
#define ROPEKV_ACLNN_CONTEXT_H_

#include <memory>

#include "acl/acl_rt.h"
#include "handle_table.h"
#include "stream.h"

namespace ropekv::acl {

struct Context {
  int32_t device;
  bool of_device;  // aclrtSetDevice made it; not the program's to destroy
  aclrtStream default_stream;
  std::shared_ptr<Stream> stream;
};
using ContextTable = HandleTable<Context, HandleKind::kContext>;

// The functions below return a code and, on failure, have noted a message.

int CheckDevice(int32_t device);
int FindCurrentContext(std::shared_ptr<Context>& context);
// Without a message.
std::shared_ptr<Context> CurrentContextOrNull();
// Null: the default stream of the current context.
int FindStream(aclrtStream handle, std::shared_ptr<Stream>& stream);
// A new stream of the current context.
int CreateStream(uint32_t flags, aclrtStream* stream);

// Ends a stream and forgets its handle. False if another thread was first.
bool DestroyStream(aclrtStream handle, Stream& stream, bool drop_tasks);

// Waits for every stream of the device; the first failure.
int SynchroniseDevice(int32_t device, const Deadline& deadline);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_CONTEXT_H_
