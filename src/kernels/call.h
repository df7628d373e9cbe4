// SPDX-License-Identifier: Apache-2.0
// What a kernel is given, and how one is found. No SIMD here.
#ifndef ROPEKV_KERNELS_CALL_H_
#define ROPEKV_KERNELS_CALL_H_

#include <algorithm>
#include <array>
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

// What becomes of a part's values.
enum class Sink : uint8_t {
  kStore,     // rounded to the dtype of the outputs
  kStoreAny,  // rounded to row_dtype, which is another one
  kQuantise,  // to int8, and stored too if `out` is there
};

// Channels of each head of q, k or v that are treated alike: all of them, those that are rotated,
// or those that are not. Strides are in elements; the channels lie side by side.
struct PartCall {
  Sink sink = Sink::kStore;
  bool rotated = false;
  int64_t num_heads = 0;
  int64_t first_head = 0;     // which of the plan's heads is head 0
  int64_t first_channel = 0;  // of head 0, in x, weight_scale and bias
  int64_t channels = 0;       // of a head
  int64_t half = 0;           // channels [0, half) are worked on beside [channels - half, channels)

  void* out = nullptr;  // null: not wanted, or there are rows
  int64_t out_token_stride = 0;
  int64_t out_head_stride = 0;

  // Of a cache. Head 0 is row_offset elements into each token's row; a null row is padding.
  void* const* rows = nullptr;
  int64_t row_offset = 0;
  int64_t row_head_stride = 0;
  DType row_dtype = DType::kNone;

  // kQuantise only.
  ScaleView scale, offset;
  ScaleTables tables;  // what Kernel::prepare made of them
};

// Rotated and other channels of q, k and v; and, where caches are not int8, of k and v as outputs.
inline constexpr int kMaxParts = 8;

// Tokens whose rows of x, and of each output, lie at a constant distance.
struct KernelCall {
  int64_t num_tokens = 0;
  int64_t head_dim = 0;
  DType x_dtype = DType::kNone;
  DType out_dtype = DType::kNone;  // of what Sink::kStore rounds to
  bool ascend = false;             // Numerics::kAscend, and not the same as kFloat32
  const void* x = nullptr;
  int64_t x_token_stride = 0;
  int64_t ahead_bytes = 0;  // beyond the caches: so far ahead x is asked for
  // A row a token: an entry for each rotated channel, or one for a pair.
  const void* const* cos = nullptr;
  const void* const* sin = nullptr;
  int64_t rotary_dim = 0;
  int64_t rotary_half = 0;  // PartCall::half of what is rotated
  DType angles_dtype = DType::kNone;
  bool half_width_angles = false;
  bool interleaved = false;
  // int32 x only.
  const float* weight_scale = nullptr;
  const float* activation_scale = nullptr;  // null: absent
  int64_t activation_stride = 0;
  const void* bias = nullptr;
  DType bias_dtype = DType::kNone;

  const PartCall* parts = nullptr;
  int num_parts = 0;
};

// How a kernel rotates.
enum class Rotation : uint8_t {
  kExact,    // every operation of the contract by itself
  kFused,    // products fused with the sum; they are exact
  kBF16Dot,  // both products and the sum by one instruction of AVX512_BF16
};

// What a target does by instructions of AVX512_BF16.
enum class NativeBF16 : uint8_t { kNothing, kRounding, kRoundingAndDot };

// One instance of the nest in nest-inl.h, and what it is made for.
struct Kernel {
  void (*run)(const KernelCall& call) = nullptr;
  // Fills the tables of `part` from its scales and offsets.
  void (*prepare)(const PartCall& part) = nullptr;
  int64_t step = 0;  // pairs that it handles at a time, and the fewest channels of a part
  int64_t least_rotary_dim = 0;  // the fewest channels that it rotates
  int64_t unrolled_pairs = 0;    // the rotated pairs of a head for which it is unrolled; 0: any
  Rotation rotation = Rotation::kExact;
  bool exact = false;    // divides, and takes no tables
  bool streams = false;  // stores past the caches: every output row must begin a line
  // Does the rotated channels of a head and then those that pass, before the next head: what comes
  // after a rotated part must be the other channels of the same heads.
  bool whole_heads = false;

  // Floats of a table for one head of a part.
  int64_t TableSize(const PartCall& part) const {
    return exact ? 0 : (part.half + step - 1) / step * 2 * step;
  }

  // PartCall::half of so many channels. Interleaved pairs must not be torn apart.
  int64_t Half(int64_t channels, bool interleaved) const {
    const int64_t half = channels / 2;
    return std::max(step, interleaved ? (half + 1) / 2 * 2 : half);
  }
};

// The longest head that kernels take.
inline constexpr int64_t kMaxHeadDim = 512;

// A head's bias that changes nothing.
inline constexpr std::array<float, kMaxHeadDim> kNoBias = [] {
  std::array<float, kMaxHeadDim> bias{};
  bias.fill(-0.0f);
  return bias;
}();

// Streaming stores are of whole lines of memory. Every output row must begin on one.
inline constexpr int64_t kLineBytes = 64;

// What a kernel must be made for.
struct KernelTraits {
  DType source;
  DType output;
  Numerics numerics;
  RotaryStyle style;
  bool wide_angles;   // cos and sin are f32, and the outputs are not
  bool other_caches;  // a part is Sink::kStoreAny
  bool k_offsets;     // k is quantised with offsets
  int64_t head_dim;
  int64_t rotary_dim;
  bool ahead;        // KernelCall::ahead_bytes is not 0
  bool whole_lines;  // beyond the caches, and every output row is of whole lines: they are streamed
};

// The kernel with these traits or, if heads are too short for the vectors of the target, that of
// the widest target below it for which they are not. Without one (`run` is null) they are too short
// for all, or the target is not built.
Kernel FindKernel(Target target, const KernelTraits& traits);

}  // namespace ropekv::internal

#endif  // ROPEKV_KERNELS_CALL_H_
