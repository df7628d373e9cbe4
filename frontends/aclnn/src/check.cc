// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <set>
#include <vector>

#include "bounds.h"
#include "context.h"
#include "data_buffer.h"
#include "error.h"
#include "event.h"
#include "meta.h"
#include "stream.h"

namespace ropekv::acl {
namespace {

// The bytes of one parameter.
struct Range {
  uintptr_t begin;
  uintptr_t end;
  const char* name;
};

struct Use {
  const char* call;
  std::vector<Range> ranges;
};

std::mutex uses_mutex;

std::set<const Use*>& Uses() {
  static auto& uses = *new std::set<const Use*>;
  return uses;
}

[[gnu::format(printf, 1, 2)]] void Report(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "ropekv-check: %s\n", text);
}

// Empty if there is no element.
Range BytesOf(const TensorSpec& tensor, const void* address, const char* name) {
  const Extent extent = ExtentOf(tensor);
  const auto first = reinterpret_cast<uintptr_t>(address);
  return {first + static_cast<uintptr_t>(extent.low), first + static_cast<uintptr_t>(extent.high),
          name};
}

template <class... Tables>
size_t Count() {
  return (Tables::Get().All().size() + ...);
}

enum class Legal { kDeviceMemory, kAnyMemory };

void CheckRange(const char* call, const Range& range, Legal legal) {
  const auto* begin = reinterpret_cast<const void*>(range.begin);
  const size_t bytes = range.end - range.begin;
  const auto block = MemoryTable::Get().Find(begin);
  if (!block) {
    const bool freed = MemoryTable::Get().FindFreed(begin).has_value();
    if (!freed && legal == Legal::kAnyMemory) return;  // the program's own
    Report("%s: %s: %zu bytes at %p are %s", call, range.name, bytes, begin,
           freed ? "in memory that has been freed" : "not device memory (a host pointer?)");
    return;
  }
  if (block->kind != MemoryKind::kDevice && legal == Legal::kDeviceMemory) {
    Report("%s: %s: %zu bytes at %p are %s memory, not device memory", call, range.name, bytes,
           begin, Name(block->kind));
  }
  const uintptr_t end = block->begin + block->bytes;
  if (range.end > end) {
    Report("%s: %s: %zu bytes at %p end %zu bytes past the end of their block of %zu bytes at %p",
           call, range.name, bytes, begin, range.end - end, block->bytes,
           reinterpret_cast<void*>(block->begin));
  }
}

}  // namespace

class MemoryInUse {
 public:
  explicit MemoryInUse(Use use) : use_(std::move(use)) {
    const std::lock_guard lock(uses_mutex);
    Uses().insert(&use_);
  }
  ~MemoryInUse() {
    const std::lock_guard lock(uses_mutex);
    Uses().erase(&use_);
  }
  MemoryInUse(const MemoryInUse&) = delete;
  MemoryInUse& operator=(const MemoryInUse&) = delete;

 private:
  const Use use_;
};

std::shared_ptr<const MemoryInUse> CheckLaunch(const OperatorInfo& op, const Spec& spec,
                                               const Args& args) {
  Use use{op.name, {}};
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    const char* name = op.tensor_names[static_cast<size_t>(field.id)];
    if (!tensor.present()) continue;
    const Range range = BytesOf(tensor, field.address(args), name);
    if (range.begin == range.end) continue;
    CheckRange(op.name, range, Legal::kDeviceMemory);
    use.ranges.push_back(range);
  }
  return std::make_shared<MemoryInUse>(std::move(use));
}

std::shared_ptr<const MemoryInUse> CheckTransfer(std::initializer_list<Span> spans) {
  Use use{CurrentFunction(), {}};
  for (const Span& span : spans) {
    const auto begin = reinterpret_cast<uintptr_t>(span.address);
    const Range range{begin, begin + span.bytes, span.name};
    CheckRange(use.call, range, Legal::kAnyMemory);
    use.ranges.push_back(range);
  }
  return std::make_shared<MemoryInUse>(std::move(use));
}

void CheckFree(const Block& block) {
  const std::lock_guard lock(uses_mutex);
  for (const Use* use : Uses()) {
    for (const Range& range : use->ranges) {
      if (range.begin >= block.begin + block.mapped_bytes || range.end <= block.begin) continue;
      Report("the block of %zu bytes at %p was freed while a queued %s uses it as %s", block.bytes,
             reinterpret_cast<void*>(block.begin), use->call, range.name);
    }
  }
}

void CheckLeaks() {
  for (const Block& block : MemoryTable::Get().All()) {
    Report("leak: %zu bytes of %s memory at %p", block.bytes, Name(block.kind),
           reinterpret_cast<void*>(block.begin));
  }
  const auto executors = ExecutorTable::Get().All();
  if (!executors.empty()) Report("leak: %zu executors", executors.size());
  const auto events = EventTable::Get().All();
  if (!events.empty()) Report("leak: %zu events", events.size());
  size_t streams = 0;
  for (const auto& [handle, stream] : StreamTable::Get().All()) {
    const auto context = ContextTable::Get().Find(stream->context());
    if (!context || context->default_stream != handle) ++streams;
  }
  if (streams > 0) Report("leak: %zu streams", streams);
  size_t contexts = 0;
  for (const auto& [handle, context] : ContextTable::Get().All()) contexts += !context->of_device;
  if (contexts > 0) Report("leak: %zu contexts", contexts);
  const size_t descriptors =
      Count<TensorTable, ScalarTable, IntArrayTable, FloatArrayTable, BoolArrayTable,
            TensorListTable, ScalarListTable, DataBufferTable>();
  if (descriptors > 0) Report("leak: %zu descriptors", descriptors);
}

}  // namespace ropekv::acl
