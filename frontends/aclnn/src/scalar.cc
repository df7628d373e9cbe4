// SPDX-License-Identifier: Apache-2.0
// Helpers for the host code of programs: element sizes and binary16 conversions.
#include <bit>
#include <cstdint>

#include "acl/acl_base.h"

size_t aclDataTypeSize(aclDataType dataType) {
  switch (dataType) {
    case ACL_DT_UNDEFINED:
    case ACL_STRING: return 0;
    case ACL_BOOL:
    case ACL_INT8:
    case ACL_UINT8:
    case ACL_INT4:
    case ACL_UINT1:
    case ACL_HIFLOAT8:
    case ACL_FLOAT8_E5M2:
    case ACL_FLOAT8_E4M3FN:
    case ACL_FLOAT8_E8M0: return 1;
    case ACL_FLOAT16:
    case ACL_BF16:
    case ACL_INT16:
    case ACL_UINT16: return 2;
    case ACL_FLOAT:
    case ACL_INT32:
    case ACL_UINT32:
    case ACL_COMPLEX32: return 4;
    case ACL_COMPLEX128: return 16;
    default: return 8;
  }
}

float aclFloat16ToFloat(aclFloat16 value) {
  const uint32_t sign = (value & 0x8000u) << 16;
  const uint32_t exponent = (value >> 10) & 31u;
  const uint32_t mantissa = value & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

aclFloat16 aclFloatToFloat16(float value) {
  constexpr uint32_t kMaxFinite = 0x7BFF;
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  const uint32_t exponent = magnitude >> 23;
  uint32_t half;
  if (exponent > 142) {  // 2^16 and more, infinities, NaN
    half = kMaxFinite;
  } else {
    // The value in units of the last place of the result, which for subnormal results is 2^-24.
    const uint32_t shift = exponent >= 113 ? 13 : 126 - exponent;
    const uint32_t mantissa = (magnitude & 0x7FFFFFu) | (exponent ? 0x800000u : 0);
    if (shift > 24) {
      half = 0;
    } else {
      half = mantissa >> shift;
      const uint32_t rest = mantissa & ((1u << shift) - 1);
      const uint32_t tie = 1u << (shift - 1);
      if (rest > tie || (rest == tie && (half & 1))) ++half;
      // A carry out of the mantissa goes on into the exponent, as it should.
      if (exponent >= 113) half += (exponent - 113) << 10;
      if (half > kMaxFinite) half = kMaxFinite;
    }
  }
  return static_cast<aclFloat16>(sign | half);
}
