// SPDX-License-Identifier: Apache-2.0
// What a row kernel is given, and how one is found. No SIMD here.
#ifndef ROPEKV_KERNELS_ROW_H_
#define ROPEKV_KERNELS_ROW_H_

#include <cstdint>

#include "ropekv/ropekv.h"

namespace ropekv::internal {

// Element (token, head, lane) of a tensor is data + token*token_stride + head*head_stride +
// lane*lane_stride, in elements; a tensor without tokens or heads has those strides 0.
struct RowInput {
  const void* data = nullptr;  // null: absent
  int64_t token_stride = 0;
  int64_t head_stride = 0;
  int64_t lane_stride = 0;
};
struct RowOutput {
  void* data = nullptr;  // null: not wanted
  int64_t token_stride = 0;
  int64_t head_stride = 0;
  int64_t lane_stride = 0;
};
struct CacheRows {
  int8_t* const* rows = nullptr;  // head 0, lane 0 of each token's row; a null row is padding
  int64_t head_stride = 0;
  int64_t lane_stride = 0;
};

// A run of tokens that lie at constant strides.
struct RowCall {
  int64_t num_tokens;
  int64_t num_q_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  RowInput x;  // lane counts over all H channels
  RowInput cos, sin;
  RowInput scale_k, scale_v, offset_k, offset_v;
  RowInput weight_scale, activation_scale, bias;  // i32 x only
  DType bias_dtype;
  RowOutput q, k, v;
  CacheRows k_cache, v_cache;
  bool beyond_caches;  // the plan moves more than they hold
};

using RowFn = void (*)(const RowCall&);

// The shortest half head that dense kernels take: one step of two 4-lane vectors.
inline constexpr int64_t kMinHalfHead = 8;

// The kernel for one variant, or null if the target or the variant is not built. `dense` kernels
// need every lane_stride to be 1 and head_dim >= 2 * kMinHalfHead.
RowFn FindRows(Target target, DType source, DType output, Numerics numerics, bool dense);

}  // namespace ropekv::internal

#endif  // ROPEKV_KERNELS_ROW_H_
