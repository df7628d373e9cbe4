// SPDX-License-Identifier: Apache-2.0
#include "plan/overlap.h"

#include <algorithm>

namespace ropekv::internal {
namespace {

// The length of dimensions [first, rank).
int64_t InnerLength(const Footprint& footprint, int first) {
  int64_t length = footprint.element_bytes;
  for (int i = first; i < footprint.rank; ++i) {
    length += (footprint.dims[i].extent - 1) * footprint.dims[i].stride_bytes;
  }
  return length;
}

// Whether a's dimensions [i, rank) at byte 0 and b's [j, rank) at byte `delta` may share a byte.
bool Overlap(const Footprint& a, int i, const Footprint& b, int j, int64_t delta) {
  if (delta >= InnerLength(a, i) || -delta >= InnerLength(b, j)) return false;
  const int64_t a_stride = i < a.rank ? a.dims[i].stride_bytes : 0;
  const int64_t b_stride = j < b.rank ? b.dims[j].stride_bytes : 0;
  // Both repeat with this period, or lie within one of it:
  //   a  [aa..][aa..][aa..]
  //   b     [bb]  [bb]  [bb]      the phase decides
  const int64_t period = std::max(a_stride, b_stride);
  if (period == 0) return true;
  const int a_inner = a_stride == period ? i + 1 : i;
  const int b_inner = b_stride == period ? j + 1 : j;
  if (InnerLength(a, a_inner) > period || InnerLength(b, b_inner) > period) return true;
  const int64_t phase = ((delta % period) + period) % period;
  return Overlap(a, a_inner, b, b_inner, phase) || Overlap(a, a_inner, b, b_inner, phase - period);
}

}  // namespace

std::optional<Footprint> MakeFootprint(const TensorSpec& tensor) {
  Footprint footprint;
  footprint.element_bytes = ElementBytes(tensor.dtype);
  int64_t elements = 1;
  for (int i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] < 0) return std::nullopt;
    if (__builtin_mul_overflow(elements, tensor.shape[i], &elements)) return std::nullopt;
  }
  if (elements == 0) return footprint;

  footprint.length = footprint.element_bytes;
  for (int i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] == 1 || tensor.stride[i] == 0) continue;
    int64_t stride_bytes = 0;
    int64_t span = 0;
    if (__builtin_mul_overflow(tensor.stride[i], footprint.element_bytes, &stride_bytes) ||
        __builtin_mul_overflow(stride_bytes, tensor.shape[i] - 1, &span)) {
      return std::nullopt;
    }
    if (span == INT64_MIN) return std::nullopt;
    if (span < 0) {
      if (__builtin_add_overflow(footprint.first_byte, span, &footprint.first_byte)) {
        return std::nullopt;
      }
      span = -span;
      stride_bytes = -stride_bytes;
    }
    if (__builtin_add_overflow(footprint.length, span, &footprint.length)) return std::nullopt;
    int at = footprint.rank++;
    for (; at > 0 && footprint.dims[at - 1].stride_bytes < stride_bytes; --at) {
      footprint.dims[at] = footprint.dims[at - 1];
    }
    footprint.dims[at] = {tensor.shape[i], stride_bytes};
  }
  return footprint;
}

bool ElementsAreDistinct(const TensorSpec& tensor, const Footprint& footprint) {
  if (footprint.length == 0) return true;
  for (int i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] > 1 && tensor.stride[i] == 0) return false;
  }
  for (int i = 0; i < footprint.rank; ++i) {
    if (footprint.dims[i].stride_bytes < InnerLength(footprint, i + 1)) return false;
  }
  return true;
}

bool MayOverlap(const Footprint& a, const void* a_address, const Footprint& b,
                const void* b_address) {
  if (a.length == 0 || b.length == 0) return false;
  const uintptr_t a_begin = BeginOf(a, a_address);
  const uintptr_t b_begin = BeginOf(b, b_address);
  if (EndOf(a, a_begin) <= b_begin || EndOf(b, b_begin) <= a_begin) return false;
  return Overlap(a, 0, b, 0, static_cast<int64_t>(b_begin - a_begin));
}

}  // namespace ropekv::internal
