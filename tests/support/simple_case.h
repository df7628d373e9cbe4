// SPDX-License-Identifier: Apache-2.0
// Small calls with every tensor present, for tests that change one thing at a time.
#ifndef ROPEKV_TESTS_SUPPORT_SIMPLE_CASE_H_
#define ROPEKV_TESTS_SUPPORT_SIMPLE_CASE_H_

#include "ropekv/ropekv.h"

namespace ropekv::testing {

// Six tokens of i32 x. Paged: 4 blocks of 4 slots; contiguous: 2 rows of 8 positions. Every tensor
// that the NPU's operator has.
inline Shape SimpleShape(CacheLayout layout) {
  const bool paged = layout == CacheLayout::kPaged;
  return {.batch = 2,
          .seq_len = 3,
          .num_q_heads = 2,
          .num_kv_heads = 1,
          .head_dim = 16,
          .x_dtype = DType::kI32,
          .out_dtype = DType::kF16,
          .cache_layout = layout,
          .cache_shape = {paged ? 4 : 2, paged ? 4 : 8},
          .kv_output = true,
          .offsets = true,
          .activation_scale = true,
          .bias_dtype = DType::kF16};
}

inline Spec SimpleSpec(CacheLayout layout) { return DenseSpec(SimpleShape(layout)); }

// With `positions`, too, for a table of 9 rows.
inline Spec TableSpec(CacheLayout layout) {
  Shape shape = SimpleShape(layout);
  shape.num_positions = 9;
  return DenseSpec(shape);
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_SIMPLE_CASE_H_
