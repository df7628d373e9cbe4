// SPDX-License-Identifier: Apache-2.0
// Reader<source>: channels of x as f32, int32 dequantised.
#if defined(ROPEKV_KERNELS_DEQUANTISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_DEQUANTISE_INL_H_
#undef ROPEKV_KERNELS_DEQUANTISE_INL_H_
#else
#define ROPEKV_KERNELS_DEQUANTISE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/call.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Reads a head of a part of consecutive tokens, and then the next head. What belongs to channels
// and not to tokens it leaves to its caller, who keeps it in registers for all tokens of a tile: a
// Param for each vector. Floating-point x is widened, nothing else; it has no bias.
template <DType source, DTypes dtypes>
class Reader {
 public:
  using T = typename FormatOf<source>::T;
  struct Nothing {};
  template <class DF>
  using Param = Nothing;

  Reader(const KernelCall& call, const PartCall& part, int64_t token)
      : x_(static_cast<const T*>(call.x) + token * call.x_token_stride + part.first_channel),
        token_stride_(call.x_token_stride) {}

  template <class Order, class DF>
  HWY_INLINE void LoadParams(DF, int64_t, Nothing& a, Nothing& b, Nothing& c, Nothing& d) const {
    a = b = c = d = Nothing();
  }

  // The step that begins at this channel of the head of token `i`.
  template <class Order, class DF>
  HWY_INLINE void Load(DF df, int64_t i, int64_t channel, Nothing, Nothing, Nothing, Nothing,
                       Float32<DF>& a, Float32<DF>& b) const {
    Order::template Read<FormatOf<source>>(df, x(i) + channel, a, b);
  }

  HWY_INLINE void Advance(int64_t channels) { x_ += channels; }

  HWY_INLINE const T* x(int64_t i) const { return x_ + i * token_stride_; }

 private:
  const T* x_;
  int64_t token_stride_;
};

// A step of a bias; of 16 bits, widened. A call, because it is in every kernel eight times.
template <class Order, class DF>
HWY_NOINLINE void LoadAnyBias(DF df, DType dtype, const char* bias, Float32<DF>& a,
                              Float32<DF>& b) {
  switch (dtype) {
    case DType::kNone: a = b = hn::Set(df, -0.0f); return;
    case DType::kF16:
      return Order::template Read<FormatF16>(df, reinterpret_cast<const uint16_t*>(bias), a, b);
    case DType::kBF16:
      return Order::template Read<FormatBF16>(df, reinterpret_cast<const uint16_t*>(bias), a, b);
    default: return Order::Load(df, reinterpret_cast<const float*>(bias), a, b);
  }
}

// float(x + int32_bias) * weight_scale * activation_scale + bias, in this order. The Params are
// weight_scale and bias.
template <DTypes dtypes>
class Reader<DType::kI32, dtypes> {
 public:
  using T = int32_t;
  template <class DF>
  using Param = Float32<DF>;

  Reader(const KernelCall& call, const PartCall& part, int64_t token)
      : x_(static_cast<const T*>(call.x) + token * call.x_token_stride + part.first_channel),
        token_stride_(call.x_token_stride),
        weight_scale_(call.weight_scale + part.first_channel),
        bias_dtype_(call.bias_dtype),
        bias_bytes_(ElementBytes(call.bias_dtype)),
        bias_(static_cast<const char*>(call.bias) + part.first_channel * bias_bytes_) {
    // A product with 1.0f is exact, so an absent scale costs no branch.
    static constexpr float kOne = 1.0f;
    activation_scale_ =
        call.activation_scale ? call.activation_scale + token * call.activation_stride : &kOne;
    activation_stride_ = call.activation_scale ? call.activation_stride : 0;
  }

  // An int32 bias stays one, under the name of floats.
  template <class Order, class DF>
  HWY_INLINE void LoadParams(DF df, int64_t channel, Float32<DF>& scale_a, Float32<DF>& scale_b,
                             Float32<DF>& bias_a, Float32<DF>& bias_b) const {
    Order::Load(df, weight_scale_ + channel, scale_a, scale_b);
    if constexpr (dtypes == DTypes::kAny) {
      LoadAnyBias<Order>(df, bias_dtype_, bias_ + channel * bias_bytes_, bias_a, bias_b);
    } else if (bias_bytes_ == 0) {
      bias_a = bias_b = hn::Set(df, -0.0f);  // which changes nothing
    } else {
      Order::Load(df, reinterpret_cast<const float*>(bias_) + channel, bias_a, bias_b);
    }
  }

  template <class Order, class DF>
  HWY_INLINE void Load(DF df, int64_t i, int64_t channel, Float32<DF> scale_a, Float32<DF> scale_b,
                       Float32<DF> bias_a, Float32<DF> bias_b, Float32<DF>& a,
                       Float32<DF>& b) const {
    // Added as unsigned: the contract wraps.
    const hn::RebindToUnsigned<DF> du;
    const hn::RebindToSigned<DF> di;
    hn::Vec<decltype(du)> sum_a, sum_b;
    Order::Load(df, reinterpret_cast<const uint32_t*>(x(i)) + channel, sum_a, sum_b);
    const bool int_bias = dtypes == DTypes::kAny && bias_dtype_ == DType::kI32;
    if (int_bias) {
      sum_a = hn::Add(sum_a, hn::BitCast(du, bias_a));
      sum_b = hn::Add(sum_b, hn::BitCast(du, bias_b));
    }
    const auto token_scale = hn::Set(df, activation_scale_[i * activation_stride_]);
    a = hn::Mul(hn::Mul(hn::ConvertTo(df, hn::BitCast(di, sum_a)), scale_a), token_scale);
    b = hn::Mul(hn::Mul(hn::ConvertTo(df, hn::BitCast(di, sum_b)), scale_b), token_scale);
    if (!int_bias) {
      a = hn::Add(a, bias_a);
      b = hn::Add(b, bias_b);
    }
  }

  HWY_INLINE void Advance(int64_t channels) {
    x_ += channels;
    weight_scale_ += channels;
    bias_ += channels * bias_bytes_;
  }

  HWY_INLINE const T* x(int64_t i) const { return x_ + i * token_stride_; }

 private:
  const T* x_;
  int64_t token_stride_;
  const float* activation_scale_;
  int64_t activation_stride_;
  const float* weight_scale_;
  DType bias_dtype_;
  int64_t bias_bytes_;  // of an element; 0: absent
  const char* bias_;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_DEQUANTISE_INL_H_
