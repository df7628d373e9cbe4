// SPDX-License-Identifier: Apache-2.0
// ropekv: dequantise, split, rotate, quantise and scatter a packed QKV projection in one pass.
//
//   Shape -> DenseSpec -> Spec -> MakePlan -> Plan ; Plan + Args -> Run
//
// For each token, with h = rotary_dim / 2 (docs/numerics.md has the rounding rules):
//   x' = float(x + int_bias) * weight_scale * activation_scale + bias     x i32; otherwise x' = x
//   q, k, v = split(x', size_splits)
//   q, k: out[i] = t[i]*cos[i] - t[i+h]*sin[i];  out[i+h] = t[i+h]*cos[i+h] + t[i]*sin[i+h]   i < h
//   k_cache, v_cache: saturate_int8(rint(t / scale + offset)), written where `indices` says
// or, with RotaryStyle::kInterleaved, channels 2i and 2i+1 in place of i and i+h; or, with caches
// of a floating-point dtype, t rounded to it. Nothing here throws or aborts. Every pointer stays
// the caller's.
#ifndef ROPEKV_ROPEKV_H_
#define ROPEKV_ROPEKV_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "ropekv/types.h"

#pragma GCC visibility push(default)
namespace ropekv {

enum class CacheLayout : uint8_t {
  kContiguous,  // cache [batch, max_len, Nkv, D]; token (b, s) goes to cache[b][indices[b] + s]
  kPaged,       // cache [num_blocks, block_size, Nkv, D]; token t goes to flat slot indices[t]
                // (block * block_size + entry); a negative slot is padding and is not written
};

// Where values are rounded. The two differ only when cos and sin are f16.
enum class Numerics : uint8_t {
  kFloat32,  // everything in binary32 until the one rounding of each output
  kAscend,   // as the NPU: q, k, and each product and sum of the rotation are rounded to f16
};

// Which channels turn together, of the first rotary_dim of each head of q and k.
enum class RotaryStyle : uint8_t {
  kHalf,         // i and i + rotary_dim / 2: rotate-half (GPT-NeoX, Hugging Face's Llama)
  kInterleaved,  // 2i and 2i + 1 (GPT-J, GLM, Meta's Llama)
};

// An instruction set. Which of them exist depends on the processor the library was built for.
enum class Target : uint8_t {
  kBest,
  kScalar,
  kSse4,
  kAvx2,
  kAvx512,
  kAvx512Bf16,     // bf16 rounded by AVX512_BF16
  kAvx512Bf16Dot,  // and rotated by its dot products
  kNeon,
  kSve,
  kSve2
};

const char* Name(Target target) noexcept;           // "best", "scalar", "sse4", "avx2", ...
Result<Target> ParseTarget(std::string_view name);  // the inverse
std::span<const Target> BuiltTargets() noexcept;    // in this library, best first
std::span<const Target> UsableTargets() noexcept;   // ... and on this processor, best first

// One call's shapes and numerics. B = batch, S = sequence, T = B*S, Nq and Nkv = heads, D =
// head_dim (even), H = (Nq + 2*Nkv) * D, R = rotary_dim. Nkv and D are read from k_cache, Nq from
// size_splits. T may be 0.
struct Spec {
  TensorSpec x;                   // [B,S,H] or [B,H] (S = 1); i32, f16, bf16, f32
  TensorSpec cos, sin;            // [B,S,1,R] or [B,R] like x; with positions a table [P,R];
                                  // f32, or q's dtype. R/2 entries serve both channels of a pair
  TensorSpec k_cache, v_cache;    // [C1,C2,Nkv,D]; i8, or f16, bf16, f32; updated in place
  TensorSpec indices;             // contiguous: B entries; paged: T entries; 1-D or 2-D; i32, i64
  TensorSpec scale_k, scale_v;    // [Nkv,D], [Nkv*D], [Nkv,1] or [1]; f32; t is divided by it;
                                  // required for i8 caches, and only for those
  TensorSpec offset_k, offset_v;  // like scale; optional, each on its own
  TensorSpec weight_scale;        // [H]; f32; required for i32 x; this and the next two are ignored
  TensorSpec activation_scale;    // [T]; f32; optional               when x is not i32
  TensorSpec bias;                // [H]; f32, f16, bf16 or i32 (added before scaling); optional
  TensorSpec q, k, v;             // [B,S,N,D] or [B,N,D] like x; x's dtype, or for i32 x f16,
                                  // bf16 or f32, all alike; k, v if kv_output
  TensorSpec positions;           // T entries, 1-D or 2-D; i32, i64; optional: which rows of cos
                                  // and sin the tokens have
  std::array<int64_t, 3> size_splits{};  // {Nq*D, Nkv*D, Nkv*D}
  int64_t rotary_dim = 0;                // even, 2 to D; 0: D. Channels from here on pass
  RotaryStyle rotary_style = RotaryStyle::kHalf;
  CacheLayout cache_layout = CacheLayout::kContiguous;
  Numerics numerics = Numerics::kFloat32;
  bool kv_output = false;             // also write k (rotated) and v, rounded to q's dtype
  bool strict_device_limits = false;  // refuse what the NPU refuses: H > 4096 or not a multiple of
                                      // 64, D not a multiple of 16, one offset without the other,
                                      // and what is only here (docs/numerics.md has the list)
  Target target = Target::kBest;      // kBest: the environment's ROPEKV_TARGET, or the fastest
};

// The sizes of an ordinary call: every tensor is row-major.
struct Shape {
  int64_t batch = 1;
  std::optional<int64_t> seq_len = std::nullopt;  // nullopt: 2-D tensors, one token a sequence
  int64_t num_q_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  DType x_dtype = DType::kBF16;
  DType out_dtype = DType::kBF16;     // of q, k and v
  DType angles_dtype = DType::kNone;  // of cos and sin; kNone: out_dtype
  CacheLayout cache_layout = CacheLayout::kContiguous;
  std::array<int64_t, 2> cache_shape{};  // {batch, max_len} or {num_blocks, block_size}
  DType cache_dtype = DType::kI8;        // others have no scales and no offsets
  DType index_dtype = DType::kI32;       // of indices and positions
  int64_t num_positions = 0;  // rows of the table of cos and sin; 0: a row a token, no positions
  int64_t rotary_dim = 0;     // 0: head_dim
  RotaryStyle rotary_style = RotaryStyle::kHalf;
  bool half_width_angles = false;  // cos and sin have rotary_dim / 2 entries
  bool kv_output = false;
  bool offsets = false;             // offset_k and offset_v
  bool activation_scale = false;    // weight_scale is there whenever x is i32
  DType bias_dtype = DType::kNone;  // kNone: no bias
};

// Each tensor as its comment in Spec says, indices and positions 1-D, scales and offsets as
// [Nkv,D]. MakePlan refuses the Spec of sizes that do not fit each other, or whose products
// overflow.
Spec DenseSpec(const Shape& shape) noexcept;

// Data for one call: the address of each tensor's element [0, 0, ...], aligned to its element.
// Tensors absent from the Spec, and tensors without elements, may be null.
struct Args {
  const void* x = nullptr;
  const void* cos = nullptr;
  const void* sin = nullptr;
  void* k_cache = nullptr;
  void* v_cache = nullptr;
  const void* indices = nullptr;
  const void* scale_k = nullptr;
  const void* scale_v = nullptr;
  const void* offset_k = nullptr;
  const void* offset_v = nullptr;
  const void* weight_scale = nullptr;
  const void* activation_scale = nullptr;
  const void* bias = nullptr;
  void* q = nullptr;
  void* k = nullptr;
  void* v = nullptr;
  const void* positions = nullptr;
};

// One row per tensor, in TensorId order, for code that treats all tensors alike. Exactly one of
// `input` and `output` is set.
struct TensorField {
  TensorId id;
  const char* name;
  TensorSpec Spec::*spec;
  const void* Args::*input;
  void* Args::*output;

  const void* address(const Args& args) const { return input ? args.*input : args.*output; }
};
inline constexpr std::array<TensorField, kNumTensors> kTensorFields = {{
    {TensorId::kX, "x", &Spec::x, &Args::x, nullptr},
    {TensorId::kCos, "cos", &Spec::cos, &Args::cos, nullptr},
    {TensorId::kSin, "sin", &Spec::sin, &Args::sin, nullptr},
    {TensorId::kKCache, "k_cache", &Spec::k_cache, nullptr, &Args::k_cache},
    {TensorId::kVCache, "v_cache", &Spec::v_cache, nullptr, &Args::v_cache},
    {TensorId::kIndices, "indices", &Spec::indices, &Args::indices, nullptr},
    {TensorId::kScaleK, "scale_k", &Spec::scale_k, &Args::scale_k, nullptr},
    {TensorId::kScaleV, "scale_v", &Spec::scale_v, &Args::scale_v, nullptr},
    {TensorId::kOffsetK, "offset_k", &Spec::offset_k, &Args::offset_k, nullptr},
    {TensorId::kOffsetV, "offset_v", &Spec::offset_v, &Args::offset_v, nullptr},
    {TensorId::kWeightScale, "weight_scale", &Spec::weight_scale, &Args::weight_scale, nullptr},
    {TensorId::kActivationScale, "activation_scale", &Spec::activation_scale,
     &Args::activation_scale, nullptr},
    {TensorId::kBias, "bias", &Spec::bias, &Args::bias, nullptr},
    {TensorId::kQ, "q", &Spec::q, nullptr, &Args::q},
    {TensorId::kK, "k", &Spec::k, nullptr, &Args::k},
    {TensorId::kV, "v", &Spec::v, nullptr, &Args::v},
    {TensorId::kPositions, "positions", &Spec::positions, &Args::positions, nullptr},
}};

struct PlanData;

// A checked Spec, ready to run any number of times, from any number of threads at once. Immutable;
// copies share it.
class Plan {
 public:
  // For the library itself: PlanData is not declared in its headers.
  explicit Plan(std::shared_ptr<const PlanData> data) : data_(std::move(data)) {}

  const Spec& spec() const noexcept;
  int64_t num_tokens() const noexcept;
  Target target() const noexcept;  // never kBest. Heads too short for its vectors run on a
                                   // narrower one
  const PlanData& data() const { return *data_; }

 private:
  std::shared_ptr<const PlanData> data_;
};

// Checks everything that can be known without the data. Errors: all codes but kBadIndex,
// kBadPointer.
Result<Plan> MakePlan(const Spec& spec) noexcept;

// A plan that owns the weights of a layer: scale_k, scale_v, offset_k, offset_v, weight_scale and
// bias, as `weights` has them now (its other pointers are ignored). They are copied, checked and
// prepared here, once, in one allocation; calls with the new plan ignore these pointers, and need
// no division. Whoever changes a weight binds the first plan again; a bound plan keeps its weights
// when it is bound. Its spec() has these tensors row-major.
// Errors: kNullPointer, kBadPointer, kOutOfMemory; kBadShape if a weight's copy does not fit in 63
// bits, as one with strides of 0 may not.
Result<Plan> BindWeights(const Plan& plan, const Args& weights) noexcept;

// The most threads that Run uses when it is free to choose: as many as there are processors, but no
// more than the affinity of the process and the CPU quotas of its control groups, as both were when
// this, or Run, first asked.
int MaxThreads() noexcept;

struct RunOptions {
  // 0: MaxThreads(), or fewer for a call too small to gain from them; n: at most n.
  int num_threads = 0;
  // Tokens [token_begin, token_end) only; token_end < 0 means all the rest. An engine runs disjoint
  // slices of one plan in its own threads with num_threads = 1. A slice checks its own indices
  // only: call CheckArgs over all tokens first to find a slot that two slices share.
  int64_t token_begin = 0;
  int64_t token_end = -1;
  // Off: the caller guarantees that no slot occurs twice; if one does, the bytes there are
  // unspecified.
  bool check_duplicate_slots = true;
};

// Writes q (k, v) and the cache rows of the chosen tokens. On an error (kNullPointer, kBadIndex,
// kBadPointer, kBadOption) no byte has been written. Any number of calls may run at once on one
// Plan as long as their outputs differ. Allocates nothing of its own and needs at most 32 KiB of
// stack; leaves the caller's floating-point environment as found and is not influenced by it.
Status Run(const Plan& plan, const Args& args, const RunOptions& options = {}) noexcept;

// The checks of Run, alone.
Status CheckArgs(const Plan& plan, const Args& args, const RunOptions& options = {}) noexcept;

// The same operator by the slow, plain reference implementation, which shares no arithmetic with
// Run: the same checks, and the same bytes (a NaN in q, k or v may differ in sign and payload).
Status RunReference(const Plan& plan, const Args& args, const RunOptions& options = {}) noexcept;

const char* Version() noexcept;

}  // namespace ropekv
#pragma GCC visibility pop

#endif  // ROPEKV_ROPEKV_H_
