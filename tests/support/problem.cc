// SPDX-License-Identifier: Apache-2.0
#include "support/problem.h"

#include <cstring>

namespace ropekv::testing {
namespace {

// Not a NaN in either 16-bit format, so a NaN written where nothing should be is seen.
unsigned char PoisonByte(size_t at) { return static_cast<unsigned char>(0x21 + at % 83); }

bool IsNan16(DType dtype, uint16_t bits) {
  return (bits & 0x7FFF) > (dtype == DType::kF16 ? 0x7C00 : 0x7F80);
}

void Count16(DType dtype, uint16_t bits, Coverage& coverage) {
  const uint16_t infinity = dtype == DType::kF16 ? 0x7C00 : 0x7F80;
  const uint16_t smallest_normal = dtype == DType::kF16 ? 0x0400 : 0x0080;
  const uint16_t magnitude = bits & 0x7FFF;
  coverage.nan += magnitude > infinity;
  coverage.inf += magnitude == infinity;
  coverage.subnormal += magnitude > 0 && magnitude < smallest_normal;
}

}  // namespace

Coverage& Coverage::operator+=(const Coverage& other) {
  bytes += other.bytes;
  changed_bytes += other.changed_bytes;
  nan += other.nan;
  inf += other.inf;
  subnormal += other.subnormal;
  lowest += other.lowest;
  highest += other.highest;
  return *this;
}

Problem::Problem(const Spec& spec, Flavour flavour, uint64_t seed, bool fence_start) : spec_(spec) {
  Rng rng(seed);
  for (const TensorField& field : kTensorFields) {
    const auto at = static_cast<size_t>(field.id);
    const TensorSpec& tensor = spec_.*field.spec;
    if (!tensor.present()) continue;
    extents_[at] = ExtentOf(tensor);
    const auto make = [&] {
      return GuardedBuffer(extents_[at].storage, static_cast<size_t>(ElementBytes(tensor.dtype)),
                           fence_start);
    };
    if (field.output) {
      actual_[at] = make();
      expected_[at] = make();
    } else {
      inputs_[at] = make();
      FillInput(rng, spec_, field.id, flavour, inputs_[at].data() + extents_[at].origin);
      inputs_[at].Protect();
    }
  }
  Poison(actual_);
  Poison(expected_);
}

void* Problem::MutableInput(TensorId id) {
  const auto at = static_cast<size_t>(id);
  GuardedBuffer copy(inputs_[at].size(), 4);
  std::memcpy(copy.data(), inputs_[at].data(), copy.size());
  inputs_[at] = std::move(copy);
  return inputs_[at].data() + extents_[at].origin;
}

Args Problem::Bind(const Buffers& outputs) const {
  Args args;
  for (const TensorField& field : kTensorFields) {
    const auto at = static_cast<size_t>(field.id);
    if (!(spec_.*field.spec).present()) continue;
    if (field.output) {
      args.*field.output = outputs[at].data() + extents_[at].origin;
    } else {
      args.*field.input = inputs_[at].data() + extents_[at].origin;
    }
  }
  return args;
}

void Problem::Poison(Buffers& outputs) const {
  for (GuardedBuffer& buffer : outputs) {
    for (size_t i = 0; i < buffer.size(); ++i) buffer.data()[i] = PoisonByte(i);
  }
}

std::string Problem::Compare(Coverage* coverage) const {
  Coverage met;
  for (const TensorField& field : kTensorFields) {
    if (!field.output) continue;
    const auto at = static_cast<size_t>(field.id);
    const DType dtype = (spec_.*field.spec).dtype;
    const size_t step = dtype == DType::kI8 ? 1 : 2;
    const unsigned char* actual = actual_[at].data();
    const unsigned char* expected = expected_[at].data();
    for (size_t i = 0; i < actual_[at].size(); i += step) {
      uint16_t a = 0;
      uint16_t e = 0;
      std::memcpy(&a, actual + i, step);
      std::memcpy(&e, expected + i, step);
      const bool both_nan = step == 2 && IsNan16(dtype, a) && IsNan16(dtype, e);
      if (a != e && !both_nan) {
        return std::string(field.name) + ": byte " + std::to_string(i) + " of " +
               std::to_string(actual_[at].size()) + " is " + std::to_string(a) + ", expected " +
               std::to_string(e);
      }
      const bool changed =
          e != (step == 1 ? PoisonByte(i) : PoisonByte(i) | PoisonByte(i + 1) << 8);
      met.bytes += static_cast<int64_t>(step);
      met.changed_bytes += changed ? static_cast<int64_t>(step) : 0;
      if (!changed) continue;
      if (step == 2) {
        Count16(dtype, e, met);
      } else {
        met.lowest += static_cast<int8_t>(e) == -128;
        met.highest += static_cast<int8_t>(e) == 127;
      }
    }
  }
  if (coverage) *coverage += met;
  return "";
}

std::string Problem::CompareUntouched() const {
  size_t compared = 0;
  for (const TensorField& field : kTensorFields) {
    const GuardedBuffer& buffer = actual_[static_cast<size_t>(field.id)];
    for (size_t i = 0; i < buffer.size(); ++i) {
      if (buffer.data()[i] != PoisonByte(i)) {
        return std::string(field.name) + ": byte " + std::to_string(i) + " was written";
      }
    }
    compared += buffer.size();
  }
  return compared > 0 ? "" : "no output has a byte to compare";
}

std::string RunAndCompare(Problem& problem, const Plan& plan, const RunOptions& options,
                          Coverage* coverage) {
  problem.ResetActual();
  if (Status status = Run(plan, problem.actual(), options); !status.ok()) return status.message();
  if (Status status = RunReference(plan, problem.expected(), options); !status.ok()) {
    return status.message();
  }
  return problem.Compare(coverage);
}

}  // namespace ropekv::testing
