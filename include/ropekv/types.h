// SPDX-License-Identifier: Apache-2.0
// The vocabulary of the native interface: dtypes, strided tensors, status codes.
#ifndef ROPEKV_TYPES_H_
#define ROPEKV_TYPES_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>

#pragma GCC visibility push(default)
namespace ropekv {

// kNone marks an absent optional tensor.
enum class DType : uint8_t { kNone, kI8, kI32, kF16, kBF16, kF32, kI64 };

const char* Name(DType dtype) noexcept;  // "i8", "i32", "f16", "bf16", "f32", "i64"; "none"
// 0 for kNone.
constexpr int64_t ElementBytes(DType dtype) noexcept {
  return dtype == DType::kI8                             ? 1
         : dtype == DType::kF16 || dtype == DType::kBF16 ? 2
         : dtype == DType::kI32 || dtype == DType::kF32  ? 4
         : dtype == DType::kI64                          ? 8
                                                         : 0;
}

// The dtype, shape and strides of one tensor; no pointer. Strides are in elements, may be negative,
// and may be 0 (a broadcast) for inputs. Row-major strides are what Dense() gives.
struct TensorSpec {
  static constexpr int kMaxRank = 4;

  DType dtype = DType::kNone;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  std::array<int64_t, kMaxRank> stride{};

  bool present() const { return dtype != DType::kNone; }
};

// A row-major tensor, e.g. Dense(DType::kBF16, {num_tokens, hidden}). At most kMaxRank dimensions:
// more, like a negative extent, give a tensor that MakePlan refuses.
TensorSpec Dense(DType dtype, std::initializer_list<int64_t> shape) noexcept;

enum class StatusCode : uint8_t {
  kOk,
  kNullPointer,  // a required tensor is absent or its pointer is null
  kBadDType,     // a dtype, or a combination of dtypes, that the operator does not take
  kBadShape,     // rank, extents, strides or attributes that do not fit each other
  kDeviceLimit,  // legal here, but refused because Spec::strict_device_limits is set
  kBadIndex,     // an entry of `indices` or `positions` is out of range, or a slot is there twice
  kBadPointer,   // misaligned data, or an output that overlaps another tensor
  kBadOption,    // RunOptions, Spec::target or ROPEKV_TARGET
  kOutOfMemory,
  kInternal,
};

const char* Name(StatusCode code) noexcept;

// The tensors of the operator, in the order of aclnnDequantRopeQuantKvcache, and after them those
// that it does not have; kNoTensor is for errors about something else.
enum class TensorId : uint8_t {
  kX,
  kCos,
  kSin,
  kKCache,
  kVCache,
  kIndices,
  kScaleK,
  kScaleV,
  kOffsetK,
  kOffsetV,
  kWeightScale,
  kActivationScale,
  kBias,
  kQ,
  kK,
  kV,
  kPositions,
  kNoTensor,
};
inline constexpr int kNumTensors = static_cast<int>(TensorId::kNoTensor);

// Success, or a code, the tensor at fault and a sentence saying what was found and what is legal.
class [[nodiscard]] Status {
 public:
  Status() = default;
  // `culprit` names what is wrong when it is not a tensor ("size_splits", "ROPEKV_TARGET").
  Status(StatusCode code, std::string culprit, std::string detail)
      : code_(code), culprit_(std::move(culprit)), detail_(std::move(detail)) {}
  Status(StatusCode code, TensorId tensor, std::string detail)
      : code_(code), tensor_(tensor), detail_(std::move(detail)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  TensorId tensor() const { return tensor_; }
  // "culprit: detail"; empty when ok.
  std::string message() const;
  // The two parts, for front ends that call the tensors by other names.
  const std::string& culprit() const { return culprit_; }
  const std::string& detail() const { return detail_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  TensorId tensor_ = TensorId::kNoTensor;
  std::string culprit_;
  std::string detail_;
};

// A T, or the Status that explains its absence.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}
  Result(Status status) : state_(std::move(status)) {}

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }
  // Precondition: ok().
  const T& value() const& { return *std::get_if<T>(&state_); }
  T&& value() && { return std::move(*std::get_if<T>(&state_)); }
  const T& operator*() const { return value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<Status, T> state_;
};

}  // namespace ropekv
#pragma GCC visibility pop

#endif  // ROPEKV_TYPES_H_
