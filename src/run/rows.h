// SPDX-License-Identifier: Apache-2.0
// Where the rows of a token are.
#ifndef ROPEKV_RUN_ROWS_H_
#define ROPEKV_RUN_ROWS_H_

#include <cstdint>

#include "plan/cache_address.h"
#include "plan/plan.h"
#include "run/slots.h"

namespace ropekv::internal {

// The rows of one call's tensors.
class Rows {
 public:
  Rows(const PlanData& plan, const Args& args)
      : plan_(plan),
        args_(args),
        indices_{static_cast<const int32_t*>(args.indices), plan.normalised.indices.stride[0]} {}

  // The row of a token in a tensor that has one; null: the plan does not use the tensor.
  const void* Input(TensorId id, int64_t token) const {
    return Row(static_cast<const char*>(args_.*Field(id).input), id, token);
  }
  // Of consecutive tokens in one run.
  void Inputs(TensorId id, int64_t token, int64_t count, const void** rows) const {
    const auto* row = static_cast<const char*>(Input(id, token));
    const int64_t bytes = plan_.token_stride(id) * ElementBytes(SpecOf(id).dtype);
    for (int64_t i = 0; i < count; ++i) rows[i] = row + i * bytes;
  }
  // Its head.
  void* Output(TensorId id, int64_t token, int64_t head) const {
    char* row = Row(static_cast<char*>(args_.*Field(id).output), id, token);
    return row ? row + head * plan_.axes_of(id).head * ElementBytes(SpecOf(id).dtype) : nullptr;
  }
  const void* Weight(TensorId id) const {
    return SpecOf(id).present() ? args_.*Field(id).input : nullptr;
  }

  // The cache rows of `count` tokens, from a head on; null for padding.
  void Cache(TensorId id, int64_t token, int64_t count, int64_t head, int8_t** rows) const {
    if (plan_.normalised.cache_layout == CacheLayout::kPaged) {
      Locate<PagedAddress>(id, token, count, head, rows);
    } else {
      Locate<ContiguousAddress>(id, token, count, head, rows);
    }
  }

 private:
  static const TensorField& Field(TensorId id) { return kTensorFields[static_cast<size_t>(id)]; }
  const TensorSpec& SpecOf(TensorId id) const { return plan_.normalised.*Field(id).spec; }

  template <class Byte>
  Byte* Row(Byte* data, TensorId id, int64_t token) const {
    if (plan_.footprints[static_cast<size_t>(id)].length == 0) return nullptr;
    const Axes& axes = plan_.axes_of(id);
    const int64_t seq = plan_.sizes.seq_len;
    return data +
           (token / seq * axes.batch + token % seq * axes.seq) * ElementBytes(SpecOf(id).dtype);
  }

  template <class Address>
  void Locate(TensorId id, int64_t token, int64_t count, int64_t head, int8_t** rows) const {
    const Address address(SpecOf(id), plan_.sizes.seq_len);
    int8_t* data = static_cast<int8_t*>(args_.*Field(id).output) + head * plan_.axes_of(id).head;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t offset = address(token + i, indices_);
      rows[i] = offset == kPadding ? nullptr : data + offset;
    }
  }

  const PlanData& plan_;
  const Args& args_;
  IndexView indices_;
};

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_ROWS_H_
