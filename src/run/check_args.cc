// SPDX-License-Identifier: Apache-2.0
#include "run/check_args.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "plan/failure.h"
#include "plan/plan.h"
#include "run/slots.h"
#include "run/weights.h"

namespace ropekv {
namespace internal {
namespace {

// The bytes between a tensor's lowest and its highest. An end that is not above its begin is beyond
// the address space.
struct Placed {
  const ArgTensor* tensor;
  const void* address;
  uintptr_t begin;
  uintptr_t end;
};

// Whether a tensor may lie where it does.
bool Place(const ArgTensor& tensor, const Args& args, Placed& placed) {
  const void* address = tensor.field->address(args);
  const auto at = reinterpret_cast<uintptr_t>(address);
  const uintptr_t begin = at + static_cast<uintptr_t>(tensor.first_byte);
  const uintptr_t end = begin + static_cast<uintptr_t>(tensor.length);
  placed = {&tensor, address, begin, end};
  return address != nullptr && (at & tensor.misaligned) == 0 && begin <= at && at < end;
}

// What is wrong if it may not.
Status Misplaced(const Placed& placed) {
  const ArgTensor& tensor = *placed.tensor;
  const TensorId id = tensor.field->id;
  if (placed.address == nullptr) return Status(StatusCode::kNullPointer, id, "is null");
  char text[96];
  if (reinterpret_cast<uintptr_t>(placed.address) & tensor.misaligned) {
    std::snprintf(text, sizeof(text), "is at %p; must be a multiple of %d bytes", placed.address,
                  static_cast<int>(tensor.misaligned + 1));
  } else {
    std::snprintf(text, sizeof(text),
                  "is at %p; its strides must not lead out of the address space", placed.address);
  }
  return Status(StatusCode::kBadPointer, id, text);
}

// Every call pays for this, a call for one token noticeably; hence the plain range test first, and
// no Status but where there is something to say.
Status CheckPointers(const PlanData& plan, const Args& args) {
  Placed placed[kNumTensors];
  int count = 0;
  for (const ArgTensor& tensor : plan.ArgTensors()) {
    if (!Place(tensor, args, placed[count])) return Misplaced(placed[count]);
    ++count;
  }
  for (int i = 0; i < count; ++i) {
    const Placed& output = placed[i];
    const TensorField& field = *output.tensor->field;
    if (!field.output) continue;
    for (int j = 0; j < count; ++j) {
      const Placed& other = placed[j];
      if (j == i || output.end <= other.begin || other.end <= output.begin) continue;
      const TensorField& other_field = *other.tensor->field;
      if (!MayOverlap(plan.footprint_of(field.id), output.address,
                      plan.footprint_of(other_field.id), other.address)) {
        continue;
      }
      return Status(StatusCode::kBadPointer, field.id,
                    std::string("shares memory with ") + other_field.name +
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
  for (const ArgTensor& tensor : plan.ArgTensors()) {
    Placed placed;
    if (std::ranges::count(kWeights, tensor.field->id) == 0) continue;
    if (!Place(tensor, args, placed)) return Misplaced(placed);
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
