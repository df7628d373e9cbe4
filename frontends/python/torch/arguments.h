// SPDX-License-Identifier: Apache-2.0
// The arguments of the torch operator: one table for its schema and for reading its stack.
#ifndef ROPEKV_FRONTENDS_PYTHON_TORCH_ARGUMENTS_H_
#define ROPEKV_FRONTENDS_PYTHON_TORCH_ARGUMENTS_H_

#include <array>
#include <string>
#include <string_view>

#include "frontends/python/torch/abi.h"
#include "ropekv/ropekv.h"

namespace ropekv::torch_op {

enum class Kind : uint8_t {
  kTensor,
  kOptionalTensor,
  kSizeSplits,
  kRotaryDim,
  kRotaryStyle,
  kCacheMode,
  kKvOutput,
  kNumerics,
  kOutDType,
  kCheckDuplicateSlots,
  kTarget,
  kStrictDeviceLimits,
};

struct Argument {
  Kind kind;
  const char* schema;
  TensorId id = TensorId::kNoTensor;
};

// No argument may be called "mode": PyTorch's auto-functionalisation has one of that name.
inline constexpr Argument kArguments[] = {
    {Kind::kTensor, "Tensor x", TensorId::kX},
    {Kind::kTensor, "Tensor cos", TensorId::kCos},
    {Kind::kTensor, "Tensor sin", TensorId::kSin},
    {Kind::kTensor, "Tensor(a!) k_cache", TensorId::kKCache},
    {Kind::kTensor, "Tensor(b!) v_cache", TensorId::kVCache},
    {Kind::kTensor, "Tensor indices", TensorId::kIndices},
    {Kind::kOptionalTensor, "Tensor? scale_k", TensorId::kScaleK},
    {Kind::kOptionalTensor, "Tensor? scale_v", TensorId::kScaleV},
    {Kind::kSizeSplits, "int[3] size_splits, *"},
    {Kind::kOptionalTensor, "Tensor? offset_k=None", TensorId::kOffsetK},
    {Kind::kOptionalTensor, "Tensor? offset_v=None", TensorId::kOffsetV},
    {Kind::kOptionalTensor, "Tensor? weight_scale=None", TensorId::kWeightScale},
    {Kind::kOptionalTensor, "Tensor? activation_scale=None", TensorId::kActivationScale},
    {Kind::kOptionalTensor, "Tensor? bias=None", TensorId::kBias},
    {Kind::kOptionalTensor, "Tensor? positions=None", TensorId::kPositions},
    {Kind::kRotaryDim, "int rotary_dim=0"},
    {Kind::kRotaryStyle, "str rotary_style=\"half\""},
    {Kind::kCacheMode, "str cache_mode=\"contiguous\""},
    {Kind::kKvOutput, "bool kv_output=False"},
    {Kind::kNumerics, "str numerics=\"float32\""},
    {Kind::kOutDType, "str? out_dtype=None"},
    {Kind::kCheckDuplicateSlots, "bool check_duplicate_slots=True"},
    {Kind::kTarget, "str target=\"best\""},
    {Kind::kStrictDeviceLimits, "bool strict_device_limits=False"},
};

inline std::string MakeSchema(std::string_view name) {
  std::string schema(name);
  const char* separator = "(";
  for (const Argument& argument : kArguments) {
    schema += std::string(separator) + argument.schema;
    separator = ", ";
  }
  return schema + ") -> (Tensor, Tensor, Tensor)";
}

// The arguments of one call, which it owns.
class Arguments {
 public:
  // Takes over what is on the stack.
  explicit Arguments(const StableIValue* stack) noexcept;
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  ~Arguments();

  // Reads the lists and strings into `spec`. Throws.
  void Read();

  // By TensorId; null if absent.
  std::array<AtenTensorHandle, kNumTensors> tensors{};
  Spec spec;                       // without its tensors
  DType out_dtype = DType::kNone;  // of q, k and v; kNone: not said
  RunOptions options;

 private:
  StableListHandle size_splits_ = nullptr;
  StringHandle cache_mode_ = nullptr;
  StringHandle numerics_ = nullptr;
  StringHandle rotary_style_ = nullptr;
  StringHandle out_dtype_ = nullptr;
  StringHandle target_ = nullptr;
};

// Throws std::runtime_error if a function of torch failed.
void CheckTorch(AOTITorchError error, const char* what);

}  // namespace ropekv::torch_op

#endif  // ROPEKV_FRONTENDS_PYTHON_TORCH_ARGUMENTS_H_
