// SPDX-License-Identifier: Apache-2.0
// CacheCodec: f32 values of one head to int8 cache lanes, per channel.
#if defined(ROPEKV_KERNELS_CACHE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_CACHE_INL_H_
#undef ROPEKV_KERNELS_CACHE_INL_H_
#else
#define ROPEKV_KERNELS_CACHE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Step and store: saturate_int8(rint(value / scale + offset)).
template <class Lanes>
class Int8Codec {
 public:
  // `row` is lane 0 of the token's head 0, or null: a token whose cache row is not written.
  Int8Codec(const RowInput& scale, const RowInput& offset, const CacheRows& cache, int8_t* row,
            int64_t head)
      : row_{row ? row + head * cache.head_stride : nullptr, cache.lane_stride},
        scale_(RowOf<float>(scale, 0, head)),
        offset_(RowOf<float>(offset, 0, head)) {}

  template <class DF>
  HWY_INLINE void Store(DF df, Float32<DF> a, Float32<DF> b, int64_t lane, int64_t n) const {
    if (row_.data == nullptr) return;
    Float32<DF> scale_a, scale_b;
    Lanes::Load(df, scale_, lane, n, scale_a, scale_b);
    a = hn::Div(a, scale_a);
    b = hn::Div(b, scale_b);
    if (offset_.data) {
      Float32<DF> offset_a, offset_b;
      Lanes::Load(df, offset_, lane, n, offset_a, offset_b);
      a = hn::Add(a, offset_a);
      b = hn::Add(b, offset_b);
    }
    Lanes::StoreLevels(df, Level(df, a), Level(df, b), row_, lane, n);
  }

 private:
  // 1.5 * 2^23 has an ulp of 1: the sum with it is rounded to nearest even by the addition itself,
  // and its low bits are the integer. Highway's NearestInt is inexact on the scalar target
  // (0.49999997 becomes 1) and carries an overflow fix-up elsewhere that clamped values do not
  // need.
  template <class DF>
  static HWY_INLINE hn::Vec<hn::RebindToSigned<DF>> Level(DF df, Float32<DF> value) {
    value = hn::IfThenZeroElse(hn::IsNaN(value), value);
    value = hn::Min(hn::Max(value, hn::Set(df, -128.0f)), hn::Set(df, 127.0f));
    const hn::RebindToSigned<DF> di;
    const auto magic = hn::Set(df, 12582912.0f);
    return hn::Sub(hn::BitCast(di, hn::Add(value, magic)), hn::BitCast(di, magic));
  }

  Row<int8_t> row_;
  Row<const float> scale_;
  Row<const float> offset_;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_CACHE_INL_H_
