// SPDX-License-Identifier: Apache-2.0
// A model's cos and sin rows, as its own inference code makes them.
#ifndef ROPEKV_WORKLOAD_ROPE_TABLE_H_
#define ROPEKV_WORKLOAD_ROPE_TABLE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "workload/models.h"

namespace ropekv::workload {

class RopeTable {
 public:
  explicit RopeTable(const Model& model);

  // rotary_dim / 2 angular frequencies, in radians per token.
  std::span<const float> frequencies() const { return frequencies_; }
  // What the model multiplies cos and sin by.
  float amplitude() const { return amplitude_; }
  // Rows of rotary_dim entries, one for each channel, or of half as many, one for each pair: as
  // long as the spans are.
  void Row(int64_t position, std::span<float> cos, std::span<float> sin) const;

 private:
  std::vector<float> frequencies_;
  float amplitude_ = 1;
  bool interleaved_;
};

}  // namespace ropekv::workload

#endif  // ROPEKV_WORKLOAD_ROPE_TABLE_H_
