// SPDX-License-Identifier: Apache-2.0
#include "workload/encode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace ropekv::workload {
namespace {

// The value of a finite 16-bit float of `mantissa_bits` and exponent bias `bias`.
double Decode(uint16_t bits, int mantissa_bits, int bias) {
  const int exponent = (bits & 0x7FFF) >> mantissa_bits;
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double value =
      exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                    : std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
  return bits & 0x8000 ? -value : value;
}

// Every finite value maps to itself, every midpoint to its even neighbour, and what lies beside a
// midpoint to the nearer one.
template <class Round>
void CheckRounding(Round round, int mantissa_bits, int bias, uint16_t infinity) {
  const float inf = std::numeric_limits<float>::infinity();
  for (uint16_t bits = 0; bits < infinity; ++bits) {
    const double value = Decode(bits, mantissa_bits, bias);
    ASSERT_EQ(round(static_cast<float>(value)), bits);
    ASSERT_EQ(round(static_cast<float>(-value)), bits | 0x8000);
    if (bits + 1 == infinity) break;
    const auto next = static_cast<uint16_t>(bits + 1);
    const auto middle = static_cast<float>((value + Decode(next, mantissa_bits, bias)) / 2);
    ASSERT_EQ(round(middle), bits % 2 == 0 ? bits : next) << bits;
    ASSERT_EQ(round(std::nextafter(middle, -inf)), bits) << bits;
    ASSERT_EQ(round(std::nextafter(middle, inf)), next) << bits;
  }
  EXPECT_EQ(round(std::numeric_limits<float>::max()), infinity);
  EXPECT_EQ(round(-inf), infinity | 0x8000);
  EXPECT_GT(round(std::numeric_limits<float>::quiet_NaN()) & 0x7FFF, infinity);
  EXPECT_GT(round(std::bit_cast<float>(0x7F800001u)) & 0x7FFF, infinity);
}

TEST(Encode, F16RoundsToNearestEven) { CheckRounding(ToF16, 10, 15, 0x7C00); }
TEST(Encode, BF16RoundsToNearestEven) { CheckRounding(ToBF16, 7, 127, 0x7F80); }

TEST(Encode, I32RoundsAndSaturates) {
  EXPECT_EQ(ToI32(2.5f), 2);
  EXPECT_EQ(ToI32(-3.5f), -4);
  EXPECT_EQ(ToI32(3e9f), std::numeric_limits<int32_t>::max());
  EXPECT_EQ(ToI32(-3e9f), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(ToI32(std::numeric_limits<float>::quiet_NaN()), 0);
}

}  // namespace
}  // namespace ropekv::workload
