// SPDX-License-Identifier: Apache-2.0
#include "support/problem.h"

#include <cstring>

namespace ropekv::testing {
namespace {

// Not a NaN in any floating-point dtype, so a NaN written where nothing should be is seen.
unsigned char PoisonByte(size_t at) { return static_cast<unsigned char>(0x21 + at % 83); }

uint32_t PoisonElement(size_t at, size_t bytes) {
  uint32_t bits = 0;
  for (size_t i = 0; i < bytes; ++i) bits |= static_cast<uint32_t>(PoisonByte(at + i)) << (8 * i);
  return bits;
}

uint32_t ReadElement(const unsigned char* data, size_t bytes) {
  uint32_t bits = 0;
  std::memcpy(&bits, data, bytes);
  return bits;
}

// The magnitudes of a floating-point dtype from which on a number is normal, or infinite.
struct Magnitudes {
  uint32_t all_bits, normal, infinite;
};
Magnitudes MagnitudesOf(DType dtype) {
  switch (dtype) {
    case DType::kF16: return {0x7FFF, 0x0400, 0x7C00};
    case DType::kBF16: return {0x7FFF, 0x0080, 0x7F80};
    default: return {0x7FFFFFFF, 0x00800000, 0x7F800000};
  }
}

bool IsNan(DType dtype, uint32_t bits) {
  const Magnitudes magnitudes = MagnitudesOf(dtype);
  return dtype != DType::kI8 && (bits & magnitudes.all_bits) > magnitudes.infinite;
}

void Count(DType dtype, uint32_t bits, Coverage& coverage) {
  if (dtype == DType::kI8) {
    coverage.lowest += static_cast<int8_t>(bits) == -128;
    coverage.highest += static_cast<int8_t>(bits) == 127;
    return;
  }
  const Magnitudes magnitudes = MagnitudesOf(dtype);
  const uint32_t magnitude = bits & magnitudes.all_bits;
  coverage.nan += magnitude > magnitudes.infinite;
  coverage.inf += magnitude == magnitudes.infinite;
  coverage.subnormal += magnitude > 0 && magnitude < magnitudes.normal;
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
  const int64_t bytes = ElementBytes((spec_.*kTensorFields[at].spec).dtype);
  GuardedBuffer copy(inputs_[at].size(), static_cast<size_t>(bytes));
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
    const auto step = static_cast<size_t>(ElementBytes(dtype));
    for (size_t i = 0; i < actual_[at].size(); i += step) {
      const uint32_t a = ReadElement(actual_[at].data() + i, step);
      const uint32_t e = ReadElement(expected_[at].data() + i, step);
      if (a != e && !(IsNan(dtype, a) && IsNan(dtype, e))) {
        return std::string(field.name) + ": byte " + std::to_string(i) + " of " +
               std::to_string(actual_[at].size()) + " is " + std::to_string(a) + ", expected " +
               std::to_string(e);
      }
      met.bytes += static_cast<int64_t>(step);
      if (e == PoisonElement(i, step)) continue;
      met.changed_bytes += static_cast<int64_t>(step);
      Count(dtype, e, met);
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
