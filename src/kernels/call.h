// SPDX-License-Identifier: Apache-2.0
// What a kernel is given, and how one is found. No SIMD here.
#ifndef ROPEKV_KERNELS_CALL_H_
#define ROPEKV_KERNELS_CALL_H_

#include <cstdint>

#include "ropekv/ropekv.h"

namespace ropekv::internal {

// Scales or offsets of a cache: element (head, channel) is at
// data[head * head_stride + channel * channel_stride]. Null: absent.
struct ScaleView {
  const float* data = nullptr;
  int64_t head_stride = 0;
  int64_t channel_stride = 0;
};

// Scales and offsets as Kernel::run takes them: num_heads * Kernel::TableSize() floats each.
struct ScaleTables {
  float* reciprocals = nullptr;
  float* shifts = nullptr;
};

// q, k or v of a call. Strides are in elements; the channels of a head are contiguous.
struct PartCall {
  int64_t num_heads = 0;
  int64_t first_head = 0;     // which of the plan's heads is head 0
  int64_t first_channel = 0;  // of head 0, in x, weight_scale and bias

  void* out = nullptr;  // null: not wanted
  int64_t out_token_stride = 0;
  int64_t out_head_stride = 0;

  // k and v only.
  int8_t* const* cache_rows = nullptr;  // head 0 of each token's row; a null row is padding
  int64_t cache_head_stride = 0;
  ScaleView scale, offset;
  ScaleTables tables;  // what Kernel::prepare made of them
};

// Tokens whose rows of x, and of each output, lie at a constant distance.
struct KernelCall {
  int64_t num_tokens = 0;
  int64_t head_dim = 0;
  const void* x = nullptr;
  int64_t x_token_stride = 0;
  const void* const* cos = nullptr;  // one row of head_dim values a token
  const void* const* sin = nullptr;
  // int32 x only.
  const float* weight_scale = nullptr;
  const float* activation_scale = nullptr;  // null: absent
  int64_t activation_stride = 0;
  const void* bias = nullptr;
  DType bias_dtype = DType::kNone;
  PartCall q, k, v;
};

// Which biases a kernel takes. The usual kind has a kernel of its own: a branch in the innermost
// loop costs 10 %.
enum class BiasKind : uint8_t {
  kF32OrNone,
  kAny,
};
inline BiasKind BiasKindOf(DType bias) {
  return bias == DType::kNone || bias == DType::kF32 ? BiasKind::kF32OrNone : BiasKind::kAny;
}

// How a kernel rotates.
enum class Rotation : uint8_t {
  kExact,    // every operation of the contract by itself
  kFused,    // products fused with the sum; they are exact
  kBF16Dot,  // both products and the sum by one instruction of AVX512_BF16
};

// One instance of the nest in nest-inl.h, and what it is made for.
struct Kernel {
  void (*run)(const KernelCall& call) = nullptr;
  // Fills the tables of `part` from its scales and offsets.
  void (*prepare)(const PartCall& part, int64_t head_dim) = nullptr;
  int64_t step = 0;            // pairs that it handles at a time, and the fewest a head may have
  int64_t unrolled_pairs = 0;  // the pairs of a head for which it is unrolled; 0: any number
  Rotation rotation = Rotation::kExact;
  bool exact = false;    // divides, and takes no tables
  bool streams = false;  // stores past the caches: every output row must begin a line

  // Floats of a table for one head.
  int64_t TableSize(int64_t head_dim) const {
    return exact ? 0 : (head_dim / 2 + step - 1) / step * 2 * step;
  }
};

// The longest head that kernels take.
inline constexpr int64_t kMaxHeadDim = 512;

// Streaming stores are of whole lines of memory. Every output row must begin on one.
inline constexpr int64_t kLineBytes = 64;

// Where the data of a call is.
enum class Reach : uint8_t {
  kInCaches,
  kBeyond,      // x is asked for ahead
  kWholeLines,  // beyond, and every output row is of whole lines: they are streamed
};

// The kernel of a variant for heads of this size, or, if they are too short for the vectors of the
// target, that of the widest target below it for which they are not. Without one (`run` is null)
// they are too short for all, or the target is not built.
Kernel FindKernel(Target target, DType source, DType output, Numerics numerics, BiasKind bias,
                  int64_t head_dim, Reach reach);

}  // namespace ropekv::internal

#endif  // ROPEKV_KERNELS_CALL_H_
