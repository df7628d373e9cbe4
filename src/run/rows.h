// SPDX-License-Identifier: Apache-2.0
// Where the rows of a token are.
#ifndef ROPEKV_RUN_ROWS_H_
#define ROPEKV_RUN_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "plan/cache_address.h"
#include "plan/plan.h"
#include "run/indices.h"

namespace ropekv::internal {

// The rows of one call's tensors.
class Rows {
 public:
  Rows(const PlanData& plan, const Args& args) : plan_(plan), args_(args) {}

  // The row of a token in a tensor that has one; null: the plan does not use the tensor.
  const void* Input(TensorId id, int64_t token) const {
    return Row(static_cast<const char*>(args_.*Field(id).input), id, token);
  }
  // Of cos or sin, for consecutive tokens in one run.
  void Angles(TensorId id, int64_t token, int64_t count, const void** rows) const {
    const TensorSpec& positions = plan_.normalised.positions;
    const int64_t unit = ElementBytes(SpecOf(id).dtype);
    if (positions.present()) {
      const auto* table = static_cast<const char*>(args_.*Field(id).input);
      const int64_t bytes = SpecOf(id).stride[0] * unit;
      return WithIndices(positions, args_.positions, [&](const auto& position) {
        for (int64_t i = 0; i < count; ++i) rows[i] = table + position[token + i] * bytes;
      });
    }
    const auto* row = static_cast<const char*>(Input(id, token));
    const int64_t bytes = plan_.token_stride(id) * unit;
    for (int64_t i = 0; i < count; ++i) rows[i] = row + i * bytes;
  }
  // A channel of a head of it.
  void* Output(TensorId id, int64_t token, int64_t head, int64_t channel) const {
    char* row = Row(static_cast<char*>(args_.*Field(id).output), id, token);
    const Axes& axes = plan_.axes_of(id);
    const int64_t unit = ElementBytes(SpecOf(id).dtype);
    return row ? row + (head * axes.head + channel * axes.channel) * unit : nullptr;
  }
  const void* Weight(TensorId id) const {
    return SpecOf(id).present() ? args_.*Field(id).input : nullptr;
  }

  // The cache rows of `count` tokens; null for padding.
  void Cache(TensorId id, int64_t token, int64_t count, void** rows) const {
    if (plan_.normalised.cache_layout == CacheLayout::kPaged) {
      Locate<PagedAddress>(id, token, count, rows);
    } else {
      Locate<ContiguousAddress>(id, token, count, rows);
    }
  }

 private:
  static const TensorField& Field(TensorId id) { return kTensorFields[static_cast<size_t>(id)]; }
  const TensorSpec& SpecOf(TensorId id) const { return plan_.normalised.*Field(id).spec; }

  template <class Byte>
  Byte* Row(Byte* data, TensorId id, int64_t token) const {
    if (plan_.footprint_of(id).length == 0) return nullptr;
    const Axes& axes = plan_.axes_of(id);
    const int64_t seq = plan_.sizes.seq_len;
    return data +
           (token / seq * axes.batch + token % seq * axes.seq) * ElementBytes(SpecOf(id).dtype);
  }

  template <class Address>
  void Locate(TensorId id, int64_t token, int64_t count, void** rows) const {
    const Address address(SpecOf(id), plan_.sizes.seq_len);
    char* data = static_cast<char*>(args_.*Field(id).output);
    const int64_t unit = ElementBytes(SpecOf(id).dtype);
    WithIndices(plan_.normalised.indices, args_.indices, [&](const auto& indices) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t offset = address(token + i, indices);
        rows[i] = offset == kPadding ? nullptr : data + offset * unit;
      }
    });
  }

  const PlanData& plan_;
  const Args& args_;
};

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_ROWS_H_
