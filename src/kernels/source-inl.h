// SPDX-License-Identifier: Apache-2.0
// Source<dtype>: reads channels of one token of x as f32, dequantising i32.
#if defined(ROPEKV_KERNELS_SOURCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_SOURCE_INL_H_
#undef ROPEKV_KERNELS_SOURCE_INL_H_
#else
#define ROPEKV_KERNELS_SOURCE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/access-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/row.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

template <class T>
const T* At(const RowInput& input, int64_t token, int64_t head) {
  return static_cast<const T*>(input.data) + token * input.token_stride + head * input.head_stride;
}
template <class T>
T* At(const RowOutput& output, int64_t token, int64_t head) {
  return static_cast<T*>(output.data) + token * output.token_stride + head * output.head_stride;
}

// 16-bit x: widened, nothing else.
template <DType dtype, class Access>
class Source {
 public:
  static constexpr DType kDType = dtype;

  Source(const RowCall& call, int64_t token)
      : x_(At<uint16_t>(call.x, token, 0)), stride_(call.x.lane_stride) {}

  template <class DF>
  HWY_INLINE Float32<DF> Load(DF df, int64_t channel) const {
    const hn::Rebind<uint16_t, DF> du16;
    return FormatOf<dtype>::ToF32(df, Access::Load(du16, x_, channel, stride_));
  }

 private:
  const uint16_t* x_;
  int64_t stride_;
};

// i32 accumulators: float(x + int_bias) * weight_scale * activation_scale + bias, in this order.
template <class Access>
class Source<DType::kI32, Access> {
 public:
  static constexpr DType kDType = DType::kI32;

  Source(const RowCall& call, int64_t token)
      : x_(At<int32_t>(call.x, token, 0)),
        // A product with 1.0f is exact, so an absent scale costs no branch.
        activation_scale_(call.activation_scale.data ? *At<float>(call.activation_scale, token, 0)
                                                     : 1.0f),
        call_(call) {}

  template <class DF>
  HWY_INLINE Float32<DF> Load(DF df, int64_t channel) const {
    const hn::RebindToSigned<DF> di;
    const hn::RebindToUnsigned<DF> du;
    auto sum = Access::Load(di, x_, channel, call_.x.lane_stride);
    if (call_.bias_dtype == DType::kI32) {
      // Added as unsigned: the contract wraps.
      sum = hn::BitCast(di, hn::Add(hn::BitCast(du, sum), LoadBias<uint32_t>(du, channel)));
    }
    auto value = hn::ConvertTo(df, sum);
    value = hn::Mul(value, Access::Load(df, static_cast<const float*>(call_.weight_scale.data),
                                        channel, call_.weight_scale.lane_stride));
    value = hn::Mul(value, hn::Set(df, activation_scale_));
    return AddFloatBias(df, value, channel);
  }

 private:
  template <class T, class D>
  HWY_INLINE hn::Vec<D> LoadBias(D d, int64_t channel) const {
    return Access::Load(d, static_cast<const T*>(call_.bias.data), channel,
                        call_.bias.lane_stride);
  }

  template <class DF>
  HWY_INLINE Float32<DF> AddFloatBias(DF df, Float32<DF> value, int64_t channel) const {
    const hn::Rebind<uint16_t, DF> du16;
    switch (call_.bias_dtype) {
      case DType::kF32: return hn::Add(value, LoadBias<float>(df, channel));
      case DType::kF16:
        return hn::Add(value, FormatF16::ToF32(df, LoadBias<uint16_t>(du16, channel)));
      case DType::kBF16:
        return hn::Add(value, FormatBF16::ToF32(df, LoadBias<uint16_t>(du16, channel)));
      default: return value;
    }
  }

  const int32_t* x_;
  float activation_scale_;
  const RowCall& call_;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_SOURCE_INL_H_
