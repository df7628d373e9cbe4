// SPDX-License-Identifier: Apache-2.0
// A small Spec with every tensor present, for tests that spoil one thing at a time.
#ifndef ROPEKV_TESTS_SUPPORT_SIMPLE_CASE_H_
#define ROPEKV_TESTS_SUPPORT_SIMPLE_CASE_H_

#include "ropekv/ropekv.h"

namespace ropekv::testing {

// B = 2, S = 3 (T = 6), Nq = 2, Nkv = 1, D = 16, i32 x, f16 outputs, kv_output, both offsets.
// Paged: 4 blocks of 4 slots; contiguous: 2 rows of 8 positions.
inline Spec SimpleSpec(CacheLayout layout) {
  const bool paged = layout == CacheLayout::kPaged;
  Spec spec;
  spec.cache_layout = layout;
  spec.kv_output = true;
  spec.size_splits = {32, 16, 16};
  spec.x = Dense(DType::kI32, {2, 3, 64});
  spec.cos = spec.sin = Dense(DType::kF16, {2, 3, 1, 16});
  spec.k_cache = spec.v_cache =
      paged ? Dense(DType::kI8, {4, 4, 1, 16}) : Dense(DType::kI8, {2, 8, 1, 16});
  spec.indices = Dense(DType::kI32, {paged ? 6 : 2});
  spec.scale_k = spec.scale_v = spec.offset_k = spec.offset_v = Dense(DType::kF32, {1, 16});
  spec.weight_scale = Dense(DType::kF32, {64});
  spec.activation_scale = Dense(DType::kF32, {6});
  spec.bias = Dense(DType::kF16, {64});
  spec.q = Dense(DType::kF16, {2, 3, 2, 16});
  spec.k = spec.v = Dense(DType::kF16, {2, 3, 1, 16});
  return spec;
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_SIMPLE_CASE_H_
