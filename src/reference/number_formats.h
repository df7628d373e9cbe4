// SPDX-License-Identifier: Apache-2.0
// binary16 and bfloat16 by their definition: sign, exponent and significand as numbers.
#ifndef ROPEKV_REFERENCE_NUMBER_FORMATS_H_
#define ROPEKV_REFERENCE_NUMBER_FORMATS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace ropekv::reference {

struct NumberFormat {
  int precision;     // significand bits, the implicit one included
  int min_exponent;  // of the smallest normal number
  int max_exponent;  // of the largest finite number; also the exponent bias

  int fraction_bits() const { return precision - 1; }
  uint32_t infinity_bits() const {
    return static_cast<uint32_t>(2 * max_exponent + 1) << fraction_bits();
  }
};

inline constexpr NumberFormat kBinary16 = {11, -14, 15};
inline constexpr NumberFormat kBfloat16 = {8, -126, 127};

inline float Decode(const NumberFormat& format, uint16_t bits) {
  const uint32_t magnitude = bits & 0x7FFFu;
  const double sign = bits & 0x8000u ? -1.0 : 1.0;
  const uint32_t fraction = magnitude & ((1u << format.fraction_bits()) - 1);
  const int field = static_cast<int>(magnitude >> format.fraction_bits());
  if (magnitude > format.infinity_bits()) return std::numeric_limits<float>::quiet_NaN();
  if (magnitude == format.infinity_bits()) {
    return static_cast<float>(sign * std::numeric_limits<double>::infinity());
  }
  const double significand = fraction + (field > 0 ? std::ldexp(1.0, format.fraction_bits()) : 0.0);
  const int exponent = field > 0 ? field - format.max_exponent : format.min_exponent;
  return static_cast<float>(sign * std::ldexp(significand, exponent - format.fraction_bits()));
}

// Rounds to nearest, ties to even. Assumes the default rounding mode.
inline uint16_t Encode(const NumberFormat& format, float value) {
  const uint32_t sign = std::signbit(value) ? 0x8000u : 0u;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | (format.infinity_bits() + 1));
  const double magnitude = std::fabs(static_cast<double>(value));
  if (std::isinf(magnitude)) return static_cast<uint16_t>(sign | format.infinity_bits());
  if (magnitude == 0) return static_cast<uint16_t>(sign);

  int exponent = std::max(std::ilogb(magnitude), format.min_exponent);
  // The significand as a whole number; the scaling is exact, the rounding happens here.
  double whole = std::nearbyint(std::ldexp(magnitude, format.fraction_bits() - exponent));
  const double one = std::ldexp(1.0, format.fraction_bits());
  if (whole == 2 * one) {
    whole = one;
    ++exponent;
  }
  if (exponent > format.max_exponent) return static_cast<uint16_t>(sign | format.infinity_bits());
  if (whole < one) return static_cast<uint16_t>(sign | static_cast<uint32_t>(whole));
  const auto field = static_cast<uint32_t>(exponent + format.max_exponent);
  return static_cast<uint16_t>(sign | field << format.fraction_bits() |
                               static_cast<uint32_t>(whole - one));
}

}  // namespace ropekv::reference

#endif  // ROPEKV_REFERENCE_NUMBER_FORMATS_H_
