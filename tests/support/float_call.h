// SPDX-License-Identifier: Apache-2.0
// A call whose numbers a test reads and writes as floats, whatever their dtypes.
#ifndef ROPEKV_TESTS_SUPPORT_FLOAT_CALL_H_
#define ROPEKV_TESTS_SUPPORT_FLOAT_CALL_H_

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "reference/number_formats.h"
#include "ropekv/ropekv.h"
#include "support/rng.h"

namespace ropekv::testing {

// Who computes: a target, or the reference.
using Computer = std::optional<Target>;

inline std::vector<Computer> AllComputers() {
  std::vector<Computer> all = {std::nullopt};
  for (const Target target : UsableTargets()) all.emplace_back(target);
  return all;
}
inline std::string NameOf(const Computer& computer) {
  return computer ? Name(*computer) : "reference";
}

// The bytes of each tensor of a Spec, row-major. A Spec may be changed until the first access.
class FloatCall {
 public:
  explicit FloatCall(const Shape& shape) : spec(DenseSpec(shape)) {}

  Spec spec;

  std::vector<unsigned char>& bytes(TensorId id) {
    std::vector<unsigned char>& bytes = bytes_[static_cast<size_t>(id)];
    if (bytes.empty()) {
      bytes.resize(static_cast<size_t>(Elements(id) * ElementBytes(Tensor(id).dtype)), 0x55);
    }
    return bytes;
  }
  int64_t Elements(TensorId id) const {
    const TensorSpec& tensor = Tensor(id);
    return std::accumulate(tensor.shape.begin(), tensor.shape.begin() + tensor.rank,
                           int64_t{tensor.present()}, std::multiplies<>());
  }

  double Get(TensorId id, int64_t element) {
    const unsigned char* at = At(id, element);
    switch (Tensor(id).dtype) {
      case DType::kI8: return Read<int8_t>(at);
      case DType::kI32: return Read<int32_t>(at);
      case DType::kI64: return static_cast<double>(Read<int64_t>(at));
      case DType::kF16: return Decode(reference::kBinary16, Read<uint16_t>(at));
      case DType::kBF16: return Decode(reference::kBfloat16, Read<uint16_t>(at));
      default: return Read<float>(at);
    }
  }
  void Set(TensorId id, int64_t element, double value) {
    unsigned char* at = At(id, element);
    const auto f32 = static_cast<float>(value);
    switch (Tensor(id).dtype) {
      case DType::kI8: return Write(at, static_cast<int8_t>(value));
      case DType::kI32: return Write(at, static_cast<int32_t>(value));
      case DType::kI64: return Write(at, static_cast<int64_t>(value));
      case DType::kF16: return Write(at, Encode(reference::kBinary16, f32));
      case DType::kBF16: return Write(at, Encode(reference::kBfloat16, f32));
      default: return Write(at, f32);
    }
  }
  void Fill(TensorId id, double value) {
    for (int64_t i = 0; i < Elements(id); ++i) Set(id, i, value);
  }
  // Numbers of both signs and a size from `low` to `high`, none of them 0.
  void FillRandom(Rng& rng, TensorId id, double low, double high) {
    for (int64_t i = 0; i < Elements(id); ++i) {
      Set(id, i, rng.Real(low, high) * (rng.Chance(0.5) ? 1 : -1));
    }
  }
  void FillCounting(TensorId id) {
    for (int64_t i = 0; i < Elements(id); ++i) Set(id, i, static_cast<double>(i));
  }
  // One element of another call, dtype and all.
  void Copy(TensorId id, int64_t element, FloatCall& from, TensorId from_id, int64_t from_element) {
    ASSERT_EQ(Tensor(id).dtype, from.Tensor(from_id).dtype);
    std::memcpy(At(id, element), from.At(from_id, from_element),
                static_cast<size_t>(ElementBytes(Tensor(id).dtype)));
  }

  Args args() {
    Args args;
    for (const TensorField& field : kTensorFields) {
      if (!(spec.*field.spec).present()) continue;
      if (field.output) {
        args.*field.output = bytes(field.id).data();
      } else {
        args.*field.input = bytes(field.id).data();
      }
    }
    return args;
  }
  void Run(const Computer& computer) { Run(computer, args()); }
  void Run(const Computer& computer, const Args& args) {
    spec.target = computer.value_or(Target::kBest);
    RunPlan(computer, MakePlan(spec), args);
  }
  // With the weights bound to the plan.
  void RunBound(const Computer& computer) {
    spec.target = computer.value_or(Target::kBest);
    const Result<Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    RunPlan(computer, BindWeights(*plan, args()), args());
  }

 private:
  static void RunPlan(const Computer& computer, const Result<Plan>& plan, const Args& args) {
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    const Status status = computer ? ropekv::Run(*plan, args) : RunReference(*plan, args);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  const TensorSpec& Tensor(TensorId id) const {
    return spec.*kTensorFields[static_cast<size_t>(id)].spec;
  }
  unsigned char* At(TensorId id, int64_t element) {
    return bytes(id).data() + element * ElementBytes(Tensor(id).dtype);
  }
  template <class T>
  static T Read(const unsigned char* at) {
    T value;
    std::memcpy(&value, at, sizeof(T));
    return value;
  }
  template <class T>
  static void Write(unsigned char* at, T value) {
    std::memcpy(at, &value, sizeof(T));
  }

  std::array<std::vector<unsigned char>, kNumTensors> bytes_;
};

// q, k, v and both caches, to the byte.
inline void ExpectSameOutputs(FloatCall& one, FloatCall& other) {
  for (const TensorField& field : kTensorFields) {
    if (!field.output || !(one.spec.*field.spec).present()) continue;
    EXPECT_EQ(one.bytes(field.id), other.bytes(field.id)) << field.name;
  }
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_FLOAT_CALL_H_
