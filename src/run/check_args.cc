// SPDX-License-Identifier: Apache-2.0
#include "run/check_args.h"

#include <cstdio>
#include <string>

#include "plan/failure.h"
#include "plan/plan.h"
#include "run/slots.h"
#include "run/weights.h"

namespace ropekv {
namespace internal {
namespace {

// A tensor that has elements, and the bytes between its lowest and its highest.
struct Placed {
  const TensorField* field;
  const Footprint* footprint;
  const void* address;
  uintptr_t begin;
  uintptr_t end;
};

Status Misaligned(const Placed& tensor) {
  char text[64];
  std::snprintf(text, sizeof(text), "is at %p; must be a multiple of %d bytes", tensor.address,
                static_cast<int>(tensor.footprint->element_bytes));
  return Status(StatusCode::kBadPointer, tensor.field->id, text);
}

Status BeyondMemory(const Placed& tensor) {
  char text[96];
  std::snprintf(text, sizeof(text), "is at %p; its strides must not lead out of the address space",
                tensor.address);
  return Status(StatusCode::kBadPointer, tensor.field->id, text);
}

// Where a tensor that has elements lies, if it may lie there.
Status Place(const TensorField& field, const Footprint& footprint, const Args& args,
             Placed& placed) {
  const void* address = field.address(args);
  if (address == nullptr) return Status(StatusCode::kNullPointer, field.id, "is null");
  const auto at = reinterpret_cast<uintptr_t>(address);
  const uintptr_t begin = BeginOf(footprint, address);
  placed = {&field, &footprint, address, begin, EndOf(footprint, begin)};
  // Element sizes are powers of two.
  if (at & static_cast<uintptr_t>(footprint.element_bytes - 1)) return Misaligned(placed);
  if (placed.begin > at || placed.end <= at) return BeyondMemory(placed);
  return Status();
}

// Every call pays for this, a call for one token noticeably; hence the plain range test first.
Status CheckPointers(const PlanData& plan, const Args& args) {
  Placed placed[kNumTensors];
  int count = 0;
  for (const TensorField& field : kTensorFields) {
    const Footprint& footprint = plan.footprints[static_cast<size_t>(field.id)];
    if (footprint.length == 0) continue;
    if (Status status = Place(field, footprint, args, placed[count++]); !status.ok()) {
      return status;
    }
  }
  for (int i = 0; i < count; ++i) {
    const Placed& output = placed[i];
    if (!output.field->output) continue;
    for (int j = 0; j < count; ++j) {
      const Placed& other = placed[j];
      if (j == i || output.end <= other.begin || other.end <= output.begin) continue;
      if (!MayOverlap(*output.footprint, output.address, *other.footprint, other.address)) continue;
      return Status(StatusCode::kBadPointer, output.field->id,
                    std::string("shares memory with ") + other.field->name +
                        "; outputs must not overlap inputs or each other");
    }
  }
  return Status();
}

Status ChooseTokens(const PlanData& plan, const RunOptions& options, TokenRange& range) {
  const int64_t tokens = plan.sizes.num_tokens;
  if (options.num_threads < 0) {
    return Status(StatusCode::kBadOption, "num_threads",
                  "is " + std::to_string(options.num_threads) + "; must be >= 0");
  }
  range = {options.token_begin, options.token_end < 0 ? tokens : options.token_end};
  if (range.begin >= 0 && range.begin <= range.end && range.end <= tokens) return Status();
  return Status(StatusCode::kBadOption, "token_begin, token_end",
                "are " + std::to_string(range.begin) + ", " + std::to_string(range.end) +
                    "; must be a range within the plan's " + std::to_string(tokens) + " tokens");
}

Status CheckIndices(const PlanData& plan, const Args& args, const RunOptions& options,
                    TokenRange range) {
  if (range.begin == range.end) return Status();
  const Spec& spec = plan.normalised;
  if (spec.positions.present()) {
    Status status = CheckRange({TensorId::kPositions, spec.positions, args.positions}, range.begin,
                               range.end, spec.cos.shape[0] - 1, "token");
    if (!status.ok()) return status;
  }
  const IndexTensor indices = {TensorId::kIndices, spec.indices, args.indices};
  const auto& cache = spec.k_cache.shape;
  if (spec.cache_layout == CacheLayout::kContiguous) {
    const int64_t seq = plan.sizes.seq_len;
    return CheckRange(indices, range.begin / seq, (range.end - 1) / seq + 1, cache[1] - seq,
                      "batch row");
  }
  // The footprint of the cache bounds the number of slots: its first extents.
  Status status = CheckSlotRange(indices, range.begin, range.end, cache[0] * cache[1]);
  if (status.ok() && options.check_duplicate_slots) {
    status = CheckSlotsDistinct(indices, range.begin, range.end);
  }
  return status;
}

}  // namespace

Status CheckCall(const PlanData& plan, const Args& args, const RunOptions& options,
                 TokenRange& range) {
  Status status = ChooseTokens(plan, options, range);
  if (status.ok()) status = CheckPointers(plan, args);
  if (status.ok()) status = CheckIndices(plan, args, options, range);
  return status;
}

Status CheckWeights(const PlanData& plan, const Args& args) {
  for (const TensorId id : kWeights) {
    const Footprint& footprint = plan.footprints[static_cast<size_t>(id)];
    if (footprint.length == 0) continue;
    Placed placed;
    Status status = Place(kTensorFields[static_cast<size_t>(id)], footprint, args, placed);
    if (!status.ok()) return status;
  }
  return Status();
}

}  // namespace internal

Status CheckArgs(const Plan& plan, const Args& args, const RunOptions& options) noexcept {
  try {
    internal::TokenRange range;
    return internal::CheckCall(plan.data(), args, options, range);
  } catch (...) {
    return internal::StatusOfException();
  }
}

}  // namespace ropekv
