// SPDX-License-Identifier: Apache-2.0
#include "ropekv/types.h"

#include "ropekv/ropekv.h"

namespace ropekv {

const char* Name(DType dtype) noexcept {
  switch (dtype) {
    case DType::kNone: return "none";
    case DType::kI8: return "i8";
    case DType::kI32: return "i32";
    case DType::kF16: return "f16";
    case DType::kBF16: return "bf16";
    case DType::kF32: return "f32";
  }
  return "invalid";
}

int64_t ElementBytes(DType dtype) noexcept {
  switch (dtype) {
    case DType::kNone: return 0;
    case DType::kI8: return 1;
    case DType::kF16:
    case DType::kBF16: return 2;
    case DType::kI32:
    case DType::kF32: return 4;
  }
  return 0;
}

TensorSpec Dense(DType dtype, std::initializer_list<int64_t> shape) noexcept {
  TensorSpec tensor;
  tensor.dtype = dtype;
  tensor.rank = static_cast<int>(shape.size());
  if (shape.size() > TensorSpec::kMaxRank) return tensor;
  int dim = 0;
  for (const int64_t extent : shape) tensor.shape[dim++] = extent;
  // Unsigned: extents whose product overflows are for MakePlan to refuse.
  uint64_t stride = 1;
  for (dim = tensor.rank - 1; dim >= 0; --dim) {
    tensor.stride[dim] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(tensor.shape[dim]);
  }
  return tensor;
}

const char* Name(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::kOk: return "ok";
    case StatusCode::kNullPointer: return "null pointer";
    case StatusCode::kBadDType: return "bad dtype";
    case StatusCode::kBadShape: return "bad shape";
    case StatusCode::kDeviceLimit: return "device limit";
    case StatusCode::kBadIndex: return "bad index";
    case StatusCode::kBadPointer: return "bad pointer";
    case StatusCode::kBadOption: return "bad option";
    case StatusCode::kOutOfMemory: return "out of memory";
    case StatusCode::kInternal: return "internal error";
  }
  return "invalid";
}

std::string Status::message() const {
  if (ok()) return {};
  if (tensor_ == TensorId::kNoTensor) return culprit_ + ": " + detail_;
  return std::string(kTensorFields[static_cast<size_t>(tensor_)].name) + ": " + detail_;
}

const char* Version() noexcept { return ROPEKV_VERSION; }

}  // namespace ropekv
