// SPDX-License-Identifier: Apache-2.0
// The outputs besides the caches: q, k and v, which a caller need not bring.
#ifndef ROPEKV_FRONTENDS_PYTHON_RESULTS_H_
#define ROPEKV_FRONTENDS_PYTHON_RESULTS_H_

#include <cstdint>

#include "ropekv/ropekv.h"

namespace ropekv::python {

inline bool IsResult(const TensorField& field) {
  return field.id == TensorId::kQ || field.id == TensorId::kK || field.id == TensorId::kV;
}

// The dtype that they have unless it is said.
inline DType ResultDType(const Spec& spec) {
  return spec.x.dtype == DType::kI32 ? spec.cos.dtype : spec.x.dtype;
}

inline TensorSpec HeadsLike(const Spec& spec, DType dtype, int64_t heads) {
  const auto& x = spec.x.shape;
  const int64_t head_dim = spec.k_cache.shape[3];
  if (spec.x.rank == 3) return Dense(dtype, {x[0], x[1], heads, head_dim});
  return Dense(dtype, {x[0], heads, head_dim});
}

// Sets q, and k and v with kv_output, to new row-major tensors that fit the rest of `spec`. Those
// of a malformed one are malformed too, and MakePlan looks at them last.
inline void DescribeResults(Spec* spec, DType dtype) {
  const int64_t head_dim = spec->k_cache.shape[3];
  const int64_t kv_heads = spec->k_cache.shape[2];
  const int64_t hidden = spec->x.rank > 0 ? spec->x.shape[spec->x.rank - 1] : 0;
  const int64_t heads = head_dim > 0 ? hidden / head_dim : 0;
  // Not from size_splits: a bad one is to be blamed itself, not q.
  spec->q = HeadsLike(*spec, dtype, kv_heads <= heads / 2 ? heads - 2 * kv_heads : 0);
  if (spec->kv_output) spec->k = spec->v = HeadsLike(*spec, dtype, kv_heads);
}

}  // namespace ropekv::python

#endif  // ROPEKV_FRONTENDS_PYTHON_RESULTS_H_
