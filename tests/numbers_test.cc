// SPDX-License-Identifier: Apache-2.0
// The numeric contract by worked example: expected bits written down by hand, for every target and
// for the reference, so that the two cannot be wrong together.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "support/one_token.h"

namespace ropekv::testing {
namespace {

constexpr float kInf = INFINITY;

// Checks one expectation for the reference and every target, in vectors and lane by lane.
void Everywhere(Token token, const std::function<void(const Token::Output&)>& check) {
  for (const int64_t head_dim : {2, 70}) {
    token.head_dim = head_dim;
    SCOPED_TRACE(::testing::Message() << "reference, head_dim " << head_dim);
    check(token.Run(Target::kBest, true));
    for (const Target target : UsableTargets()) {
      SCOPED_TRACE(Name(target));
      check(token.Run(target, false));
    }
  }
}

TEST(Numbers, OutputsRoundToNearestEven) {
  const struct {
    float value;
    uint16_t f16;
    uint16_t bf16;
  } kRows[] = {
      {0.0f, 0x0000, 0x0000},
      {-0.0f, 0x8000, 0x8000},
      {1.0f, 0x3C00, 0x3F80},
      {-2.5f, 0xC100, 0xC020},
      {1.0f + 0x1p-11f, 0x3C00, 0x3F80},      // f16: a tie, down to even
      {1.0f + 3 * 0x1p-11f, 0x3C02, 0x3F80},  // f16: a tie, up to even
      {1.0f + 0x1p-11f + 0x1p-23f, 0x3C01, 0x3F80},
      {1.0f + 0x1p-8f, 0x3C04, 0x3F80},      // bf16: a tie, down to even
      {1.0f + 3 * 0x1p-8f, 0x3C0C, 0x3F82},  // bf16: a tie, up to even
      {65504.0f, 0x7BFF, 0x4780},
      {65519.996f, 0x7BFF, 0x4780},
      {65520.0f, 0x7C00, 0x4780},  // f16: the tie above the largest number
      {-1e30f, 0xFC00, 0xF14A},
      {3.4028235e38f, 0x7C00, 0x7F80},  // bf16: rounds up to inf
      {kInf, 0x7C00, 0x7F80},
      {-kInf, 0xFC00, 0xFF80},
      {0x1p-14f, 0x0400, 0x3880},
      {0x1p-14f - 0x1p-25f, 0x0400, 0x3880},  // f16: the tie below the smallest normal
      {0x1p-24f, 0x0001, 0x3380},
      {0x1p-25f, 0x0000, 0x3300},  // f16: the tie between 0 and the smallest
      {0x1.000002p-25f, 0x0001, 0x3300},
      {3 * 0x1p-25f, 0x0002, 0x33C0},
      {-0x1p-26f, 0x8000, 0xB280},
      {0x1p-133f, 0x0000, 0x0001},  // bf16: subnormal
      {0x1p-134f, 0x0000, 0x0000},
      {0x1.8p-133f, 0x0000, 0x0002},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.value);
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      const uint16_t expected = dtype == DType::kF16 ? row.f16 : row.bf16;
      Everywhere({.out_dtype = dtype, .lo = row.value}, [&](const Token::Output& out) {
        EXPECT_EQ(out.v_lo, expected);
        // 0 * x and sums with it are exact, but an infinite x gives 0 * inf = NaN, and -0 + 0 = 0.
        if (std::isfinite(row.value) && row.value != 0) {
          EXPECT_EQ(out.q_lo, expected);
        }
      });
    }
  }
}

TEST(Numbers, NaNStaysNaN) {
  for (const uint32_t bits : {0x7F800001u, 0x7FFFFFFFu, 0xFFFFFFFFu, 0x7FC00000u, 0xFF80FFFFu}) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    Everywhere({.out_dtype = DType::kF16, .lo = value}, [](const Token::Output& out) {
      EXPECT_GT(out.v_lo & 0x7FFF, 0x7C00);
      EXPECT_EQ(out.v_level, 0);
      EXPECT_EQ(out.k_lo, 0);
    });
    Everywhere({.out_dtype = DType::kBF16, .lo = value}, [](const Token::Output& out) {
      EXPECT_GT(out.v_lo & 0x7FFF, 0x7F80);
      EXPECT_EQ(out.v_level, 0);
    });
  }
}

TEST(Numbers, Quantise) {
  const float minus_200 = -200;
  const float half = 0.5f;
  const float huge = 3e38f;
  const struct {
    float value;
    float scale;
    const float* offset;
    int level;
  } kRows[] = {
      {0.5f, 1, nullptr, 0},
      {1.5f, 1, nullptr, 2},
      {2.5f, 1, nullptr, 2},
      {-0.5f, 1, nullptr, 0},
      {-1.5f, 1, nullptr, -2},
      {-2.5f, 1, nullptr, -2},
      {0.49999997f, 1, nullptr, 0},
      {-0.49999997f, 1, nullptr, 0},
      {0.50000006f, 1, nullptr, 1},
      {126.5f, 1, nullptr, 126},
      {127.5f, 1, nullptr, 127},
      {-127.5f, 1, nullptr, -128},
      {-128.5f, 1, nullptr, -128},
      {-129, 1, nullptr, -128},
      {3e9f, 1, nullptr, 127},
      {-3e9f, 1, nullptr, -128},
      {kInf, 1, nullptr, 127},
      {-kInf, 1, nullptr, -128},
      {1, 0.0f, nullptr, 127},
      {-1, 0.0f, nullptr, -128},
      {1, -0.0f, nullptr, -128},
      {0, 0.0f, nullptr, 0},
      {kInf, kInf, nullptr, 0},
      {5, kInf, nullptr, 0},
      {1, 1e-42f, nullptr, 127},  // a subnormal scale is not 0, nor is its quotient NaN
      {1e-42f, 1e-42f, nullptr, 1},
      {3e-42f, 2e-42f, nullptr, 2},
      {100, -1, nullptr, -100},
      {210, 1, &minus_200, 10},
      {1, 2, &half, 1},  // 0.5 + 0.5; rounding before the offset would give 0 or 1
      {2, 1, &huge, 127},
      {-kInf, 1, &huge, -128},
      // 0.7f / 0.1f is 7 - 4e-7 exactly and 7 rounded; 0.7f * (1 / 0.1f) is the float above or
      // below.
      {3.5f * 0.1f, 0.1f, nullptr, 4},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(::testing::Message() << row.value << " / " << row.scale);
    Everywhere({.lo = row.value, .scale = row.scale, .offset = row.offset},
               [&](const Token::Output& out) { EXPECT_EQ(out.v_level, row.level); });
  }
}

// A conversion to an integer without a clamp before it goes wrong at some sizes only.
TEST(Numbers, SaturatesAtEverySize) {
  for (int exponent = 7; exponent <= 127; ++exponent) {
    const float value = std::ldexp(1.25f, exponent);
    SCOPED_TRACE(value);
    Everywhere({.lo = value}, [](const Token::Output& out) { EXPECT_EQ(out.v_level, 127); });
    Everywhere({.lo = -value}, [](const Token::Output& out) { EXPECT_EQ(out.v_level, -128); });
  }
}

TEST(Numbers, Rotation) {
  // The halves of cos and sin are independent: 3*0.5 - 4*2 and 4*0.25 + 3*1.
  Everywhere({.lo = 3, .hi = 4, .cos_lo = 0.5, .cos_hi = 0.25, .sin_lo = 2, .sin_hi = 1},
             [](const Token::Output& out) {
               EXPECT_EQ(out.q_lo, 0xC680);  // -6.5
               EXPECT_EQ(out.q_hi, 0x4400);  // 4
               EXPECT_EQ(out.k_lo, -6);      // -6.5, a tie
               EXPECT_EQ(out.k_hi, 4);
               EXPECT_EQ(out.v_level, 3);  // not rotated
             });
}

TEST(Numbers, RotationIsNotFused) {
  // (1 + 2^-14) * (1 + 2^-10) rounds to 1 + 2^-10 + 2^-14, and the other product is just that; an
  // FMA would keep the 2^-24 between them. Each of the four products in turn.
  const float factor = 1 + 0x1p-14f;
  const float angle = 1 + 0x1p-10f;
  const float rounded = 1 + 0x1p-10f + 0x1p-14f;
  const auto lo_is_zero = [](const Token::Output& out) { EXPECT_EQ(out.q_lo, 0x0000); };
  const auto hi_is_zero = [](const Token::Output& out) { EXPECT_EQ(out.q_hi, 0x0000); };
  Everywhere({.lo = factor, .hi = rounded, .cos_lo = angle, .sin_lo = 1}, lo_is_zero);
  Everywhere({.lo = rounded, .hi = factor, .cos_lo = 1, .sin_lo = angle}, lo_is_zero);
  Everywhere({.lo = rounded, .hi = factor, .cos_hi = angle, .sin_hi = -1}, hi_is_zero);
  Everywhere({.lo = factor, .hi = rounded, .cos_hi = -1, .sin_hi = angle}, hi_is_zero);
}

TEST(Numbers, DequantiseOrder) {
  const int32_t one = 1;
  // The int32 bias wraps before conversion.
  Everywhere({.lo = 0x1p-31f, .accumulator = INT32_MAX, .int_bias = &one},
             [](const Token::Output& out) { EXPECT_EQ(out.v_lo, 0xBC00); });
  // 2^24 + 1 is not an f32: the sum must be made in int32.
  const int32_t minus_2_24 = -(1 << 24);
  Everywhere({.lo = 1, .accumulator = (1 << 24) + 1, .int_bias = &minus_2_24},
             [](const Token::Output& out) { EXPECT_EQ(out.v_lo, 0x3C00); });
  // weight_scale first: 4 * 2^127 is already inf.
  const float small = 0x1p-100f;
  Everywhere({.lo = 0x1p127f, .accumulator = 4, .activation_scale = &small},
             [](const Token::Output& out) { EXPECT_EQ(out.v_lo, 0x7C00); });
  // A float bias comes last, unscaled: 6 * 0.5 * 0.25 + 10.
  const float quarter = 0.25f;
  const float ten = 10;
  Everywhere({.lo = 0.5f, .accumulator = 6, .float_bias = &ten, .activation_scale = &quarter},
             [](const Token::Output& out) {
               EXPECT_EQ(out.v_lo, 0x4960);  // 10.75
               EXPECT_EQ(out.v_level, 11);
             });
}

TEST(Numbers, CachesAreMadeFromUnroundedValues) {
  // 2.505 is 2.5 in bf16, a tie that would go down.
  Everywhere({.out_dtype = DType::kBF16, .lo = 2.505f}, [](const Token::Output& out) {
    EXPECT_EQ(out.q_lo, 0x4020);
    EXPECT_EQ(out.k_lo, 3);
    EXPECT_EQ(out.v_level, 3);
  });
}

TEST(Numbers, Ascend) {
  // (1 + 2^-10)^2 is 1 + 2^-9 + 2^-20, in f16 1 + 2^-9. Over twice that: more than a tie, or a tie.
  const Token f16 = {.x_dtype = DType::kF16,
                     .lo = 1 + 0x1p-10f,
                     .cos_lo = 1 + 0x1p-10f,
                     .scale = 2 * (1 + 0x1p-9f)};
  Everywhere(f16, [](const Token::Output& out) { EXPECT_EQ(out.k_lo, 1); });
  Token ascend = f16;
  ascend.numerics = Numerics::kAscend;
  Everywhere(ascend, [](const Token::Output& out) { EXPECT_EQ(out.k_lo, 0); });

  // From i32, k is rounded to f16 before the rotation and v is not: 2.0005 is 2 in f16.
  const Token i32 = {.numerics = Numerics::kAscend, .lo = 2.0005f, .scale = 4};
  Everywhere(i32, [](const Token::Output& out) {
    EXPECT_EQ(out.k_lo, 0);
    EXPECT_EQ(out.v_level, 1);
  });

  // Before, and not only after, the product: 1 + 2^-11 is a tie that goes down to 1, but 1.5 times
  // it is nearer to 1.5 + 2^-10.
  Token early = {.lo = 1 + 0x1p-11f, .cos_lo = 1.5f};
  Everywhere(early, [](const Token::Output& out) { EXPECT_EQ(out.q_lo, 0x3E01); });
  early.numerics = Numerics::kAscend;
  Everywhere(early, [](const Token::Output& out) { EXPECT_EQ(out.q_lo, 0x3E00); });

  // Each product is rounded, and overflows, on its own: 60000 * 2 - 60000 * 1.5.
  Token overflow = {.x_dtype = DType::kF16, .lo = 60000, .hi = 60000, .cos_lo = 2, .sin_lo = 1.5};
  Everywhere(overflow, [](const Token::Output& out) { EXPECT_EQ(out.q_lo, 0x7753); });  // 30000
  overflow.numerics = Numerics::kAscend;
  Everywhere(overflow, [](const Token::Output& out) {
    EXPECT_GT(out.q_lo & 0x7FFF, 0x7C00);  // inf - inf
    EXPECT_EQ(out.k_lo, 0);
  });

  // With bf16 tables the two are one.
  for (const Numerics numerics : {Numerics::kFloat32, Numerics::kAscend}) {
    Everywhere({.out_dtype = DType::kBF16, .numerics = numerics, .lo = 2.0005f, .scale = 4},
               [](const Token::Output& out) { EXPECT_EQ(out.k_lo, 1); });
  }
}

}  // namespace
}  // namespace ropekv::testing
