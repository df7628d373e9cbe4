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
#include "kernels/exact-inl.h"
#include "kernels/formats-inl.h"
#include "kernels/lanes-inl.h"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

// Reads the heads of a part one after another (BeginHead, NextHead), each of some consecutive
// tokens (Take).
// Floating-point x is widened, nothing else; it has no bias.
template <DType source>
class Reader {
 public:
  using T = typename FormatOf<source>::T;
  struct Scratch {};

  Reader(const KernelCall& call, const PartCall& part, int64_t, int64_t token, Scratch&)
      : x_(static_cast<const T*>(call.x) + token * call.x_token_stride + part.first_channel),
        token_stride_(call.x_token_stride) {}

  HWY_INLINE void BeginHead() {}
  // The head of the i-th token is next to be read.
  HWY_INLINE void Take(int64_t i) { from_ = x_ + i * token_stride_; }
  // Where it is in x.
  HWY_INLINE const T* x() const { return from_; }

  // The step that begins at this channel.
  template <class Order, class DF>
  HWY_INLINE void Load(DF df, int64_t channel, Float32<DF>& a, Float32<DF>& b) const {
    Order::template Read<FormatOf<source>>(df, from_ + channel, a, b);
  }

  HWY_INLINE void NextHead(int64_t channels) { x_ += channels; }

 private:
  const T* x_;
  const T* from_ = nullptr;
  int64_t token_stride_;
};

// float(x + int32_bias) * weight_scale * activation_scale + bias, in this order. What is absent
// changes nothing: a factor of 1.0f, a bias of -0.0f.
template <>
class Reader<DType::kI32> {
 public:
  using T = int32_t;
  // A head's bias of 16 bits, widened; or its sums with an int32 bias.
  union Scratch {
    HWY_ALIGN float bias[kMaxHeadDim];
    int32_t sums[kMaxHeadDim];
  };

  Reader(const KernelCall& call, const PartCall& part, int64_t channels, int64_t token,
         Scratch& scratch)
      : x_(static_cast<const T*>(call.x) + token * call.x_token_stride + part.first_channel),
        token_stride_(call.x_token_stride),
        channels_(channels),
        weight_scale_(call.weight_scale + part.first_channel),
        bias_dtype_(call.bias_dtype),
        bias_bytes_(ElementBytes(call.bias_dtype)),
        given_bias_(static_cast<const char*>(call.bias) + part.first_channel * bias_bytes_),
        scratch_(scratch) {
    static constexpr float kOne = 1.0f;
    activation_scale_ =
        call.activation_scale ? call.activation_scale + token * call.activation_stride : &kOne;
    activation_stride_ = call.activation_scale ? call.activation_stride : 0;
  }

  HWY_INLINE void BeginHead() {
    if (bias_dtype_ == DType::kF32) {
      bias_ = reinterpret_cast<const float*>(given_bias_);
    } else if (HWY_UNLIKELY(bias_bytes_ == 2)) {
      Widen(bias_dtype_, given_bias_, channels_, scratch_.bias);
      bias_ = scratch_.bias;
    }
  }

  HWY_INLINE void Take(int64_t i) {
    x_of_token_ = from_ = x_ + i * token_stride_;
    token_scale_ = activation_scale_[i * activation_stride_];
    if (HWY_UNLIKELY(bias_dtype_ == DType::kI32)) {
      AddInt32(from_, reinterpret_cast<const int32_t*>(given_bias_), channels_, scratch_.sums);
      from_ = scratch_.sums;
    }
  }
  HWY_INLINE const T* x() const { return x_of_token_; }

  template <class Order, class DF>
  HWY_INLINE void Load(DF df, int64_t channel, Float32<DF>& a, Float32<DF>& b) const {
    hn::Vec<hn::RebindToSigned<DF>> int_a, int_b;
    Float32<DF> scale_a, scale_b, bias_a, bias_b;
    Order::Load(df, from_ + channel, int_a, int_b);
    Order::Load(df, weight_scale_ + channel, scale_a, scale_b);
    Order::Load(df, bias_ + channel, bias_a, bias_b);
    const auto token_scale = hn::Set(df, token_scale_);
    a = hn::Mul(hn::Mul(hn::ConvertTo(df, int_a), scale_a), token_scale);
    b = hn::Mul(hn::Mul(hn::ConvertTo(df, int_b), scale_b), token_scale);
    a = hn::Add(a, bias_a);
    b = hn::Add(b, bias_b);
  }

  HWY_INLINE void NextHead(int64_t channels) {
    x_ += channels;
    weight_scale_ += channels;
    given_bias_ += channels * bias_bytes_;
  }

 private:
  const T* x_;
  int64_t token_stride_;
  int64_t channels_;
  const float* weight_scale_;
  const float* activation_scale_;
  int64_t activation_stride_;
  DType bias_dtype_;
  int64_t bias_bytes_;  // of an element; 0: absent
  const char* given_bias_;
  Scratch& scratch_;
  const float* bias_ = kNoBias.data();
  // Of the token that was taken.
  const T* x_of_token_ = nullptr;
  const T* from_ = nullptr;
  float token_scale_ = 1.0f;
};

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET != HWY_SCALAR

#endif  // ROPEKV_KERNELS_DEQUANTISE_INL_H_
