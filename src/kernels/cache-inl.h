// SPDX-License-Identifier: Apache-2.0
// CacheCodec: f32 values of one head to int8 cache lanes, per channel.
#if defined(ROPEKV_KERNELS_CACHE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_CACHE_INL_H_
#undef ROPEKV_KERNELS_CACHE_INL_H_
#else
#define ROPEKV_KERNELS_CACHE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/access-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/row.h"
#include "kernels/source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Step and store: saturate_int8(rint(value / scale + offset)).
template <class Access>
class Int8Codec {
 public:
  // `row` is lane 0 of the token's head 0, or null: a token whose cache row is not written.
  Int8Codec(const RowInput& scale, const RowInput& offset, const CacheRows& cache, int8_t* row,
            int64_t head)
      : row_(row ? row + head * cache.head_stride : nullptr),
        row_stride_(cache.lane_stride),
        scale_(At<float>(scale, 0, head)),
        scale_stride_(scale.lane_stride),
        offset_(offset.data ? At<float>(offset, 0, head) : nullptr),
        offset_stride_(offset.lane_stride) {}

  template <class DF>
  HWY_INLINE void Store(DF df, Float32<DF> value, int64_t lane) const {
    if (row_ == nullptr) return;
    const hn::RebindToSigned<DF> di;
    auto ratio = hn::Div(value, Access::Load(df, scale_, lane, scale_stride_));
    if (offset_) ratio = hn::Add(ratio, Access::Load(df, offset_, lane, offset_stride_));
    ratio = hn::IfThenZeroElse(hn::IsNaN(ratio), ratio);
    ratio = hn::Min(hn::Max(ratio, hn::Set(df, -128.0f)), hn::Set(df, 127.0f));
    // 1.5 * 2^23 has an ulp of 1: the sum is rounded to nearest even by the addition itself, and its
    // low bits are the integer. Highway's NearestInt is inexact on the scalar target (0.49999997
    // becomes 1) and carries an overflow fix-up elsewhere that clamped values do not need.
    const auto magic = hn::Set(df, 12582912.0f);
    const auto rounded =
        hn::Sub(hn::BitCast(di, hn::Add(ratio, magic)), hn::BitCast(di, magic));
    const hn::Rebind<int8_t, DF> di8;
    Access::Store(hn::DemoteTo(di8, rounded), di8, row_, lane, row_stride_);
  }

 private:
  int8_t* row_;
  int64_t row_stride_;
  const float* scale_;
  int64_t scale_stride_;
  const float* offset_;
  int64_t offset_stride_;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_CACHE_INL_H_
