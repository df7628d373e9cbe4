// SPDX-License-Identifier: Apache-2.0
// How lanes are read and written: side by side, or at a stride.
#if defined(ROPEKV_KERNELS_ACCESS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_ACCESS_INL_H_
#undef ROPEKV_KERNELS_ACCESS_INL_H_
#else
#define ROPEKV_KERNELS_ACCESS_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Kernels work in steps of at most this many lanes: 512-bit vectors of f32. Longer SVE vectors are
// capped, because the heads of real models are short.
inline constexpr int64_t kMaxLanes = 16;
using FullTag = hn::CappedTag<float, kMaxLanes>;

struct DenseAccess {
  template <class D, class T = hn::TFromD<D>>
  static HWY_INLINE hn::Vec<D> Load(D d, const T* data, int64_t lane, int64_t /*stride*/) {
    return hn::LoadU(d, data + lane);
  }
  template <class D, class T = hn::TFromD<D>>
  static HWY_INLINE void Store(hn::Vec<D> value, D d, T* data, int64_t lane, int64_t /*stride*/) {
    hn::StoreU(value, d, data + lane);
  }
};

struct StridedAccess {
  template <class D, class T = hn::TFromD<D>>
  static HWY_INLINE hn::Vec<D> Load(D d, const T* data, int64_t lane, int64_t stride) {
    T lanes[kMaxLanes];
    const int64_t count = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t i = 0; i < count; ++i) lanes[i] = data[(lane + i) * stride];
    return hn::LoadU(d, lanes);
  }
  template <class D, class T = hn::TFromD<D>>
  static HWY_INLINE void Store(hn::Vec<D> value, D d, T* data, int64_t lane, int64_t stride) {
    T lanes[kMaxLanes];
    hn::StoreU(value, d, lanes);
    const int64_t count = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t i = 0; i < count; ++i) data[(lane + i) * stride] = lanes[i];
  }
};

// Calls body(tag, i) until lanes [0, n) are covered. The last step is pulled back to end at n, so it
// may repeat lanes of the one before: no masks, no reads past the end, and since inputs and outputs
// never overlap the same bytes again. Fewer lanes than one vector are taken one by one.
template <class Body>
HWY_INLINE void ForLanes(int64_t n, const Body& body) {
  const FullTag full;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(full));
  if (HWY_LIKELY(n >= lanes)) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) body(full, i);
    if (i < n) body(full, n - lanes);
  } else {
    const hn::CappedTag<float, 1> single;
    for (int64_t i = 0; i < n; ++i) body(single, i);
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_ACCESS_INL_H_
