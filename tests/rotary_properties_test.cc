// SPDX-License-Identifier: Apache-2.0
// Truths about rotations that need no second implementation, for every target and the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <cstdint>
#include <utility>

#include "support/rotary_call.h"

namespace ropekv::testing {
namespace {

using Complex = std::complex<double>;

constexpr double kUnit = 0x1p-24;  // by how much of itself rounding to f32 may change a number

// A head of one token: where it begins in x and in q, k or v.
struct Head {
  int64_t token, x, out;
  TensorId id;
};
template <class Visit>
void ForEachHead(int64_t head_dim, const Visit& visit) {
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t n = 0; n < kHeads; ++n) {
      const int64_t x = (t * kHeads + n) * head_dim;
      if (n < kQHeads) {
        visit(Head{t, x, (t * kQHeads + n) * head_dim, TensorId::kQ});
      } else {
        const int64_t out = (t * kKvHeads + (n - kQHeads) % kKvHeads) * head_dim;
        visit(Head{t, x, out, n < kQHeads + kKvHeads ? TensorId::kK : TensorId::kV});
      }
    }
  }
}

// Slots and weights that change nothing.
void FillRest(FloatCall& call) {
  call.FillCounting(TensorId::kIndices);
  for (const TensorId id : {TensorId::kScaleK, TensorId::kScaleV, TensorId::kWeightScale}) {
    call.Fill(id, 1);
  }
}

// cos and sin of `turn` times the usual angles, the same for both channels of a pair.
void FillRow(FloatCall& call, int64_t row, double turn) {
  const int64_t rotary_dim = call.spec.rotary_dim,
                width = call.spec.cos.shape[call.spec.cos.rank - 1];
  for (int64_t i = 0; i < rotary_dim / 2; ++i) {
    const double angle =
        turn * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    const Pair pair = width < rotary_dim ? Pair{i, i} : PairOf(call.spec, i);
    for (const int64_t at : {pair.a, pair.b}) {
      call.Set(TensorId::kCos, row * width + at, std::cos(angle));
      call.Set(TensorId::kSin, row * width + at, std::sin(angle));
    }
  }
}

class RotaryProperties : public ::testing::TestWithParam<Computer> {
 protected:
  // What a pair of x became.
  static std::pair<Complex, Complex> Turned(FloatCall& call, const Head& head, int64_t i) {
    const auto [a, b] = PairOf(call.spec, i);
    return {{call.Get(TensorId::kX, head.x + a), call.Get(TensorId::kX, head.x + b)},
            {call.Get(head.id, head.out + a), call.Get(head.id, head.out + b)}};
  }
};

TEST_P(RotaryProperties, ZeroAngleIsIdentity) {
  for (const auto& size : kSizes) {
    for (const RotaryStyle style : kStyles) {
      for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32}) {
        for (const bool half_width : {false, true}) {
          Shape shape = RotaryShape(size, style, dtype);
          if (dtype == DType::kI32) shape.out_dtype = DType::kF32;
          shape.half_width_angles = half_width;
          shape.angles_dtype = half_width ? DType::kF32 : shape.out_dtype;
          FloatCall call(shape);
          Rng rng(1);
          call.FillRandom(rng, TensorId::kX, 1, 3000);
          call.Fill(TensorId::kCos, 1);
          call.Fill(TensorId::kSin, 0);
          FillRest(call);
          call.Run(GetParam());
          ForEachHead(size.first, [&](const Head& head) {
            for (int64_t i = 0; i < size.first; ++i) {
              ASSERT_EQ(call.Get(head.id, head.out + i), call.Get(TensorId::kX, head.x + i));
            }
          });
        }
      }
    }
  }
}

TEST_P(RotaryProperties, QuarterTurnSwapsPairs) {
  for (const auto& size : kSizes) {
    for (const RotaryStyle style : kStyles) {
      for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
        FloatCall call(RotaryShape(size, style, dtype));
        Rng rng(2);
        call.FillRandom(rng, TensorId::kX, 1, 2);
        call.Fill(TensorId::kCos, 0);
        call.Fill(TensorId::kSin, 1);
        FillRest(call);
        call.Run(GetParam());
        ForEachHead(size.first, [&](const Head& head) {
          const bool rotated = head.id != TensorId::kV;
          for (int64_t i = 0; i < size.second / 2; ++i) {
            const auto [before, after] = Turned(call, head, i);
            ASSERT_EQ(after, rotated ? before * Complex(0, 1) : before);
          }
        });
      }
    }
  }
}

// The textbook: pairs are complex numbers, and turn by a factor. Both products and the sum are
// rounded, which is at most 2 units of each product.
TEST_P(RotaryProperties, IsComplexMultiplication) {
  for (const auto& size : kSizes) {
    for (const RotaryStyle style : kStyles) {
      FloatCall call(RotaryShape(size, style));
      Rng rng(3);
      call.FillRandom(rng, TensorId::kX, 0.1, 4);
      for (int64_t t = 0; t < kTokens; ++t) FillRow(call, t, static_cast<double>(t * t + 1));
      FillRest(call);
      call.Run(GetParam());
      ForEachHead(size.first, [&](const Head& head) {
        for (int64_t i = 0; i < size.second / 2; ++i) {
          const int64_t at = head.token * size.second + PairOf(call.spec, i).a;
          const Complex factor(call.Get(TensorId::kCos, at), call.Get(TensorId::kSin, at));
          const auto [before, after] = Turned(call, head, i);
          const Complex wanted = head.id == TensorId::kV ? before : before * factor;
          const double bound = 2.001 * kUnit * (std::abs(before.real()) + std::abs(before.imag()));
          ASSERT_LE(std::abs(after.real() - wanted.real()), bound);
          ASSERT_LE(std::abs(after.imag() - wanted.imag()), bound);
        }
        for (int64_t i = size.second; i < size.first; ++i) {
          ASSERT_EQ(call.Get(head.id, head.out + i), call.Get(TensorId::kX, head.x + i));
        }
      });
    }
  }
}

// Six roundings of each way, of the products, the sum, and cos and sin.
TEST_P(RotaryProperties, BackAgain) {
  for (const auto& size : kSizes) {
    for (const RotaryStyle style : kStyles) {
      FloatCall there(RotaryShape(size, style)), back(RotaryShape(size, style));
      Rng rng(4);
      there.FillRandom(rng, TensorId::kX, 0.1, 4);
      for (int64_t t = 0; t < kTokens; ++t) {
        FillRow(there, t, static_cast<double>(37 * t + 1));
        FillRow(back, t, -static_cast<double>(37 * t + 1));
      }
      FillRest(there);
      FillRest(back);
      there.Run(GetParam());
      ForEachHead(size.first, [&](const Head& head) {
        for (int64_t i = 0; i < size.first; ++i) {
          back.Copy(TensorId::kX, head.x + i, there, head.id, head.out + i);
        }
      });
      back.Run(GetParam());
      int64_t moved = 0;
      ForEachHead(size.first, [&](const Head& head) {
        if (head.id == TensorId::kV) return;
        for (int64_t i = 0; i < size.second / 2; ++i) {
          const auto [start, middle] = Turned(there, head, i);
          const Complex end = Turned(back, head, i).second;
          ASSERT_LE(std::abs(end - start), 12 * kUnit * std::abs(start));
          moved += std::abs(middle - start) > 0.1 * std::abs(start);
        }
      });
      EXPECT_GT(moved, 0);
    }
  }
}

// What the rotation is for: the product of a q and a k depends on how far apart they are alone.
TEST_P(RotaryProperties, ScoresDependOnDistance) {
  for (const auto& size : kSizes) {
    for (const RotaryStyle style : kStyles) {
      Shape shape = RotaryShape(size, style);
      shape.num_positions = 200;
      FloatCall call(shape);
      // One x for all tokens.
      call.spec.x.stride = {};
      call.spec.x.stride[2] = 1;
      Rng rng(5);
      call.FillRandom(rng, TensorId::kX, 0.1, 4);
      for (int64_t p = 0; p < shape.num_positions; ++p) FillRow(call, p, static_cast<double>(p));
      const int64_t positions[kTokens] = {0, 11, 80, 91, 188, 199};
      for (int64_t t = 0; t < kTokens; ++t) {
        call.Set(TensorId::kPositions, t, static_cast<double>(positions[t]));
      }
      FillRest(call);
      call.Run(GetParam());
      // Of the first heads, q of token t and k of token u.
      const auto score = [&](int64_t t, int64_t u, double& size_of_terms) {
        double sum = 0;
        for (int64_t i = 0; i < size.first; ++i) {
          const double term = call.Get(TensorId::kQ, t * kQHeads * size.first + i) *
                              call.Get(TensorId::kK, u * kKvHeads * size.first + i);
          sum += term;
          size_of_terms += std::abs(term);
        }
        return sum;
      };
      double terms = 0;
      const double first = score(1, 0, terms);
      EXPECT_NEAR(score(3, 2, terms), first, 24 * kUnit * terms);
      EXPECT_NEAR(score(5, 4, terms), first, 24 * kUnit * terms);
      EXPECT_GT(std::abs(score(5, 2, terms) - first), 1e-3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RotaryProperties, ::testing::ValuesIn(AllComputers()),
                         [](const auto& param) { return NameOf(param.param); });

}  // namespace
}  // namespace ropekv::testing
