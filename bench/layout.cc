// SPDX-License-Identifier: Apache-2.0
#include "bench/layout.h"

#include <utility>

namespace ropekv::bench {
namespace {

using workload::Buffer;
using workload::Case;

constexpr TensorId kSlices[] = {TensorId::kQ, TensorId::kK, TensorId::kV};

void SetView(Case* made, TensorId id, TensorId of, int64_t offset_bytes) {
  (*made)[id] = Buffer();
  made->views[static_cast<size_t>(id)] = {of, offset_bytes};
}

}  // namespace

void SetStrides(const Layout& layout, Spec* spec) {
  const auto [c1, c2, heads, dim] = spec->k_cache.shape;
  if (layout.caches == CacheOrder::kHeads) {
    spec->k_cache.stride = {heads * c2 * dim, dim, c2 * dim, 1};
  } else if (layout.caches == CacheOrder::kBlocks) {
    spec->k_cache.stride[0] = 2 * c2 * heads * dim;
  }
  spec->v_cache = spec->k_cache;
  if (!layout.sliced) return;
  const int64_t hidden = spec->x.shape[spec->x.rank - 1];
  for (TensorSpec* out : {&spec->q, &spec->k, &spec->v}) {
    if (!out->present()) continue;
    out->stride[out->rank - 3] = hidden;
    if (out->rank == 4) out->stride[0] = hidden * out->shape[1];
  }
}

void MoveOutputs(const Layout& layout, Case* made) {
  const Spec& spec = made->spec;
  if (layout.caches == CacheOrder::kBlocks) {
    (*made)[TensorId::kKCache] = Buffer(2 * workload::NumBytes(spec.k_cache));
    SetView(made, TensorId::kVCache, TensorId::kKCache,
            spec.k_cache.stride[0] / 2 * ElementBytes(spec.k_cache.dtype));
  }
  if (!layout.sliced) return;
  const int64_t element = ElementBytes(spec.q.dtype);
  (*made)[TensorId::kQ] = Buffer(workload::NumElements(spec.x) * element);
  (*made)[TensorId::kQ].Fill(0xA5);
  for (size_t i = 1, offset = 0; i < 3; ++i) {
    offset += static_cast<size_t>(spec.size_splits[i - 1]);
    const TensorId id = kSlices[i];
    if (!(spec.*kTensorFields[static_cast<size_t>(id)].spec).present()) continue;
    SetView(made, id, TensorId::kQ, static_cast<int64_t>(offset) * element);
  }
}

}  // namespace ropekv::bench
