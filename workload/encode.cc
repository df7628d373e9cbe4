// SPDX-License-Identifier: Apache-2.0
#include "workload/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ropekv::workload {
namespace {

constexpr uint32_t kSign = 0x80000000u;
constexpr uint32_t kInfinity = 0x7F800000u;

// `bits` shifted right by `shift`, to nearest, ties to even.
uint32_t RoundShift(uint32_t bits, int shift) {
  const uint32_t below_half = (1u << (shift - 1)) - 1;
  return (bits + below_half + ((bits >> shift) & 1)) >> shift;
}

}  // namespace

uint16_t ToF16(float value) {
  constexpr uint32_t kOverflow = 0x477FF000u;    // 65520, halfway from the largest to 2^16
  constexpr uint32_t kSmallest = 0x38800000u;    // 2^-14, the smallest normal
  constexpr uint32_t kExponentBias = 112 << 23;  // 127 - 15
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & ~kSign;
  const uint32_t sign = (bits & kSign) >> 16;
  uint32_t half = 0;
  if (magnitude > kInfinity) {
    half = 0x7E00;
  } else if (magnitude >= kOverflow) {
    half = 0x7C00;
  } else if (magnitude >= kSmallest) {
    half = RoundShift(magnitude - kExponentBias, 13);
  } else {
    // The unit in the last place of 0.5 is 2^-24, f16's smallest subnormal: the sum does the
    // rounding.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
           std::bit_cast<uint32_t>(0.5f);
  }
  return static_cast<uint16_t>(sign | half);
}

uint16_t ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & ~kSign) > kInfinity) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>(RoundShift(bits, 16));
}

int32_t ToI32(float value) {
  if (std::isnan(value)) return 0;
  constexpr double kLimit = 2147483648.0;
  return static_cast<int32_t>(std::clamp(std::nearbyint(double{value}), -kLimit, kLimit - 1));
}

void Store(std::byte* tensor, DType dtype, int64_t index, float value) {
  switch (dtype) {
    case DType::kI32: reinterpret_cast<int32_t*>(tensor)[index] = ToI32(value); return;
    case DType::kF16: reinterpret_cast<uint16_t*>(tensor)[index] = ToF16(value); return;
    case DType::kBF16: reinterpret_cast<uint16_t*>(tensor)[index] = ToBF16(value); return;
    case DType::kF32: reinterpret_cast<float*>(tensor)[index] = value; return;
    case DType::kI8:
    case DType::kI64:
    case DType::kNone: return;
  }
}

}  // namespace ropekv::workload
