// SPDX-License-Identifier: Apache-2.0
// Source<dtype>: reads channels of one token of x as f32, dequantising i32.
#if defined(ROPEKV_KERNELS_SOURCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_SOURCE_INL_H_
#undef ROPEKV_KERNELS_SOURCE_INL_H_
#else
#define ROPEKV_KERNELS_SOURCE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/row.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// The lanes of one token and head.
template <class T>
Row<const T> RowOf(const RowInput& input, int64_t token, int64_t head) {
  if (input.data == nullptr) return {nullptr, 0};
  return {static_cast<const T*>(input.data) + token * input.token_stride + head * input.head_stride,
          input.lane_stride};
}
template <class T>
Row<T> RowOf(const RowOutput& output, int64_t token, int64_t head) {
  if (output.data == nullptr) return {nullptr, 0};
  return {static_cast<T*>(output.data) + token * output.token_stride + head * output.head_stride,
          output.lane_stride};
}

// Asks for the lines of `lanes` lanes of x, `distance` elements ahead, with the locality of
// __builtin_prefetch: 2 into the second-level cache, 0 into the first for a single use.
template <int locality, class T>
HWY_INLINE void PrefetchLanes(const T* x, int64_t distance, int64_t lanes) {
  const char* begin = reinterpret_cast<const char*>(x + distance);
  const int64_t bytes = lanes * static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(begin + i, 0, locality);
}

// A Source reads a row of x from a channel on, and then that of the next token or head. Whatever
// belongs to channels and not to tokens it leaves to its caller, who keeps it in registers: two
// Params for each vector of lanes.

// 16-bit x: widened, nothing else.
template <DType dtype, class Lanes>
class Source {
 public:
  struct Nothing {};
  template <class DF>
  using Param = Nothing;

  Source(const RowCall& call, int64_t token, int64_t channel)
      : x_(Skip<Lanes>(RowOf<uint16_t>(call.x, token, 0), channel)), stride_(call.x.token_stride) {}

  template <class DF>
  HWY_INLINE void LoadParams(DF, int64_t, int64_t, Nothing&, Nothing&, Nothing&, Nothing&) const {}

  template <class DF>
  HWY_INLINE void Load(DF df, int64_t lane, int64_t n, Nothing, Nothing, Nothing, Nothing,
                       Float32<DF>& a, Float32<DF>& b) const {
    Lanes::template LoadHalf<FormatOf<dtype>>(df, x_, lane, n, a, b);
  }

  HWY_INLINE void NextToken() { x_.data += stride_; }
  HWY_INLINE void NextHead(int64_t head_dim) { x_.data += head_dim * x_.stride; }

  // Asks for `lanes` lanes of x, this many elements ahead.
  template <int locality>
  HWY_INLINE void Prefetch(int64_t distance, int64_t lanes) const {
    PrefetchLanes<locality>(x_.data, distance, lanes);
  }

 private:
  Row<const uint16_t> x_;
  int64_t stride_;
};

// i32 accumulators: float(x + int_bias) * weight_scale * activation_scale + bias, in this order.
// The Params are weight_scale and bias.
template <class Lanes>
class Source<DType::kI32, Lanes> {
 public:
  template <class DF>
  using Param = Float32<DF>;

  Source(const RowCall& call, int64_t token, int64_t channel)
      : x_(Skip<Lanes>(RowOf<int32_t>(call.x, token, 0), channel)),
        stride_(call.x.token_stride),
        activation_scale_(RowOf<float>(call.activation_scale, token, 0).data),
        activation_stride_(call.activation_scale.token_stride),
        weight_scale_(Skip<Lanes>(RowOf<float>(call.weight_scale, 0, 0), channel)),
        bias_(call.bias),
        bias_dtype_(call.bias_dtype),
        channel_(channel) {
    // A product with 1.0f is exact, so an absent scale costs no branch.
    static constexpr float kOne = 1.0f;
    if (activation_scale_ == nullptr) activation_scale_ = &kOne;
  }

  // An integer bias stays one, under the name of floats.
  template <class DF>
  HWY_INLINE void LoadParams(DF df, int64_t lane, int64_t n, Float32<DF>& scale_a,
                             Float32<DF>& scale_b, Float32<DF>& bias_a, Float32<DF>& bias_b) const {
    Lanes::Load(df, weight_scale_, lane, n, scale_a, scale_b);
    switch (bias_dtype_) {
      case DType::kF16:
        return Lanes::template LoadHalf<FormatF16>(df, Bias<uint16_t>(), lane, n, bias_a, bias_b);
      case DType::kBF16:
        return Lanes::template LoadHalf<FormatBF16>(df, Bias<uint16_t>(), lane, n, bias_a, bias_b);
      case DType::kF32:
      case DType::kI32: return Lanes::Load(df, Bias<float>(), lane, n, bias_a, bias_b);
      default: bias_a = bias_b = hn::Zero(df);
    }
  }

  template <class DF>
  HWY_INLINE void Load(DF df, int64_t lane, int64_t n, Float32<DF> scale_a, Float32<DF> scale_b,
                       Float32<DF> bias_a, Float32<DF> bias_b, Float32<DF>& a,
                       Float32<DF>& b) const {
    // Added as unsigned: the contract wraps.
    const hn::RebindToUnsigned<DF> du;
    const hn::RebindToSigned<DF> di;
    hn::Vec<decltype(du)> sum_a, sum_b;
    Lanes::Load(df, Row<const uint32_t>{reinterpret_cast<const uint32_t*>(x_.data), x_.stride},
                lane, n, sum_a, sum_b);
    if (bias_dtype_ == DType::kI32) {
      sum_a = hn::Add(sum_a, hn::BitCast(du, bias_a));
      sum_b = hn::Add(sum_b, hn::BitCast(du, bias_b));
    }
    const auto token_scale = hn::Set(df, *activation_scale_);
    a = hn::Mul(hn::Mul(hn::ConvertTo(df, hn::BitCast(di, sum_a)), scale_a), token_scale);
    b = hn::Mul(hn::Mul(hn::ConvertTo(df, hn::BitCast(di, sum_b)), scale_b), token_scale);
    if (bias_dtype_ != DType::kNone && bias_dtype_ != DType::kI32) {
      a = hn::Add(a, bias_a);
      b = hn::Add(b, bias_b);
    }
  }

  HWY_INLINE void NextToken() {
    x_.data += stride_;
    activation_scale_ += activation_stride_;
  }
  HWY_INLINE void NextHead(int64_t head_dim) {
    x_.data += head_dim * x_.stride;
    weight_scale_.data += head_dim * weight_scale_.stride;
    channel_ += head_dim;
  }

  template <int locality>
  HWY_INLINE void Prefetch(int64_t distance, int64_t lanes) const {
    PrefetchLanes<locality>(x_.data, distance, lanes);
  }

 private:
  template <class T>
  Row<const T> Bias() const {
    return Skip<Lanes>(RowOf<T>(bias_, 0, 0), channel_);
  }

  Row<const int32_t> x_;
  int64_t stride_;
  const float* activation_scale_;
  int64_t activation_stride_;
  Row<const float> weight_scale_;
  const RowInput& bias_;
  DType bias_dtype_;
  int64_t channel_;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_SOURCE_INL_H_
