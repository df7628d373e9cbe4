// SPDX-License-Identifier: Apache-2.0
// Source<dtype>: reads channels of one token of x as f32, dequantising i32.
#if defined(ROPEKV_KERNELS_SOURCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_SOURCE_INL_H_
#undef ROPEKV_KERNELS_SOURCE_INL_H_
#else
#define ROPEKV_KERNELS_SOURCE_INL_H_
#endif

#include "hwy/cache_control.h"
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

// Of `lanes` lanes of a row of x, the lines that lie `distance` elements ahead.
template <class T>
HWY_INLINE void PrefetchRow(Row<const T> x, int64_t distance, int64_t lanes) {
  const char* ahead = reinterpret_cast<const char*>(x.data + distance);
  const int64_t bytes = lanes * static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < bytes; i += 64) hwy::Prefetch(ahead + i);
}

// 16-bit x: widened, nothing else.
template <DType dtype, class Lanes>
class Source {
 public:
  // Whether anything but x is read, which is worth keeping for the next token.
  static constexpr bool kHasParameters = false;

  Source(const RowCall& call, int64_t token, int64_t channel)
      : x_(Skip<Lanes>(RowOf<uint16_t>(call.x, token, 0), channel)),
        token_stride_(call.x.token_stride) {}

  // The same token, further channels.
  HWY_INLINE Source Channels(int64_t count) const {
    Source source = *this;
    source.x_ = Skip<Lanes>(x_, count);
    return source;
  }

  HWY_INLINE void NextToken() { x_.data += token_stride_; }

  HWY_INLINE void PrefetchTokens(int64_t tokens, int64_t lanes) const {
    PrefetchRow(x_, tokens * token_stride_, lanes);
  }

  template <class DF>
  HWY_INLINE void Load(DF df, int64_t lane, int64_t n, Float32<DF>& a, Float32<DF>& b) const {
    Lanes::template LoadHalf<FormatOf<dtype>>(df, x_, lane, n, a, b);
  }

 private:
  Row<const uint16_t> x_;
  int64_t token_stride_;
};

// i32 accumulators: float(x + int_bias) * weight_scale * activation_scale + bias, in this order.
template <class Lanes>
class Source<DType::kI32, Lanes> {
 public:
  static constexpr bool kHasParameters = true;

  Source(const RowCall& call, int64_t token, int64_t channel)
      : x_(Skip<Lanes>(RowOf<int32_t>(call.x, token, 0), channel)),
        weight_scale_(Skip<Lanes>(RowOf<float>(call.weight_scale, 0, 0), channel)),
        activation_scale_(RowOf<float>(call.activation_scale, token, 0).data),
        token_stride_(call.x.token_stride),
        activation_stride_(call.activation_scale.token_stride),
        bias_(call.bias.data),
        bias_stride_(Lanes::kDense ? 1 : call.bias.lane_stride),
        bias_bytes_(ElementBytes(call.bias_dtype)),
        bias_dtype_(call.bias_dtype) {
    // A product with 1.0f is exact, so an absent scale costs no branch.
    static constexpr float kOne = 1.0f;
    if (activation_scale_ == nullptr) activation_scale_ = &kOne;
    bias_ = static_cast<const char*>(bias_) + channel * bias_stride_ * bias_bytes_;
  }

  HWY_INLINE Source Channels(int64_t count) const {
    Source source = *this;
    source.x_ = Skip<Lanes>(x_, count);
    source.weight_scale_ = Skip<Lanes>(weight_scale_, count);
    source.bias_ = static_cast<const char*>(bias_) + count * bias_stride_ * bias_bytes_;
    return source;
  }

  HWY_INLINE void NextToken() {
    x_.data += token_stride_;
    activation_scale_ += activation_stride_;
  }

  HWY_INLINE void PrefetchTokens(int64_t tokens, int64_t lanes) const {
    PrefetchRow(x_, tokens * token_stride_, lanes);
  }

  template <class DF>
  HWY_INLINE void Load(DF df, int64_t lane, int64_t n, Float32<DF>& a, Float32<DF>& b) const {
    hn::Vec<hn::RebindToSigned<DF>> sum_a, sum_b;
    Lanes::Load(df, x_, lane, n, sum_a, sum_b);
    if (bias_dtype_ == DType::kI32) AddIntBias(df, lane, n, sum_a, sum_b);
    Float32<DF> scale_a, scale_b;
    Lanes::Load(df, weight_scale_, lane, n, scale_a, scale_b);
    const auto activation_scale = hn::Set(df, *activation_scale_);
    a = hn::Mul(hn::Mul(hn::ConvertTo(df, sum_a), scale_a), activation_scale);
    b = hn::Mul(hn::Mul(hn::ConvertTo(df, sum_b), scale_b), activation_scale);
    if (bias_dtype_ != DType::kNone && bias_dtype_ != DType::kI32) AddFloatBias(df, lane, n, a, b);
  }

 private:
  template <class T>
  Row<const T> Bias() const {
    return {static_cast<const T*>(bias_), bias_stride_};
  }

  template <class DF, class V>
  HWY_INLINE void AddIntBias(DF df, int64_t lane, int64_t n, V& a, V& b) const {
    // Added as unsigned: the contract wraps.
    const hn::RebindToUnsigned<DF> du;
    const hn::RebindToSigned<DF> di;
    hn::Vec<decltype(du)> bias_a, bias_b;
    Lanes::Load(df, Bias<uint32_t>(), lane, n, bias_a, bias_b);
    a = hn::BitCast(di, hn::Add(hn::BitCast(du, a), bias_a));
    b = hn::BitCast(di, hn::Add(hn::BitCast(du, b), bias_b));
  }

  template <class DF>
  HWY_INLINE void AddFloatBias(DF df, int64_t lane, int64_t n, Float32<DF>& a,
                               Float32<DF>& b) const {
    Float32<DF> bias_a, bias_b;
    if (bias_dtype_ == DType::kF32) {
      Lanes::Load(df, Bias<float>(), lane, n, bias_a, bias_b);
    } else if (bias_dtype_ == DType::kF16) {
      Lanes::template LoadHalf<FormatF16>(df, Bias<uint16_t>(), lane, n, bias_a, bias_b);
    } else {
      Lanes::template LoadHalf<FormatBF16>(df, Bias<uint16_t>(), lane, n, bias_a, bias_b);
    }
    a = hn::Add(a, bias_a);
    b = hn::Add(b, bias_b);
  }

  Row<const int32_t> x_;
  Row<const float> weight_scale_;
  const float* activation_scale_;
  int64_t token_stride_;
  int64_t activation_stride_;
  const void* bias_;
  int64_t bias_stride_;
  int64_t bias_bytes_;
  DType bias_dtype_;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_SOURCE_INL_H_
