// SPDX-License-Identifier: Apache-2.0
// How lanes are read and written: a step is two vectors of f32, `a` and `b`, of consecutive
// channels.
//
//   DenseLanes    a = 0 1 2 3, b = 4 5 6 7   contiguous rows of at least a step
//   EvenOddLanes  a = 0 2 4 6, b = 1 3 5 7   likewise; bf16 to bf16 without a shuffle
//   StridedLanes  as DenseLanes              anything; slow
//
// Steps of two vectors rather than one, because processors store as many vectors as scalars a
// cycle, and so that packing to 16 and 8 bits fills its registers.
#if defined(ROPEKV_KERNELS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEKV_KERNELS_LANES_INL_H_
#undef ROPEKV_KERNELS_LANES_INL_H_
#else
#define ROPEKV_KERNELS_LANES_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/formats-inl.h"

// For the body of a loop that is passed to a loop: g++ leaves a long one out of line, and its
// vectors then go through memory.
#undef ROPEKV_INLINE_LAMBDA
#define ROPEKV_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 512-bit vectors of f32. Longer SVE vectors are capped, because heads are short.
inline constexpr int64_t kMaxLanes = 16;

// Pairs of lanes of a head that are rotated in one go; longer heads go in blocks.
inline constexpr int64_t kMaxPairs = 256;

// A row of n lanes in memory.
template <class T>
struct Row {
  T* data;  // null: absent
  int64_t stride;
};

enum class Stores {
  kOrdinary,
  // Past the caches: the line is not read first, but whoever reads the output next finds it in
  // memory. Addresses must be multiples of a step's size.
  kStreaming,
};

template <Stores stores, class D, class T = hn::TFromD<D>>
HWY_INLINE void StoreVector(hn::Vec<D> value, D d, T* data) {
  // What Highway streams on x86 is 16 bytes at least.
  if constexpr (stores == Stores::kStreaming && sizeof(T) * hn::MaxLanes(d) >= 16) {
#if HWY_TARGET == HWY_AVX3
    if constexpr (sizeof(value.raw) == 64) {
      // A line in two: on Zen 4 a copy of memory is 8 % faster this way, and so is a call.
      const hn::Half<D> half;
      hn::Stream(hn::LowerHalf(half, value), half, data);
      hn::Stream(hn::UpperHalf(half, value), half, data + hn::Lanes(half));
      return;
    }
#endif
    hn::Stream(value, d, data);
  } else {
    hn::StoreU(value, d, data);
  }
}

struct DenseLanes {
  static constexpr bool kDense = true;

  template <class DF, class T, class V = hn::Vec<hn::Rebind<T, DF>>>
  static HWY_INLINE void Load(DF, Row<const T> row, int64_t lane, int64_t, V& a, V& b) {
    const hn::Rebind<T, DF> d;
    a = hn::LoadU(d, row.data + lane);
    b = hn::LoadU(d, row.data + lane + hn::Lanes(d));
  }

  // Widened from a 16-bit format.
  template <class Format, class DF>
  static HWY_INLINE void LoadHalf(DF df, Row<const uint16_t> row, int64_t lane, int64_t n,
                                  Float32<DF>& a, Float32<DF>& b) {
    Bits16<DF> bits_a, bits_b;
    Load(df, row, lane, n, bits_a, bits_b);
    a = Format::ToF32(df, bits_a);
    b = Format::ToF32(df, bits_b);
  }

  // Rounded to a 16-bit format. `doubt` begins as Format::NoDoubt.
  template <class Format, Stores stores, class DF>
  static HWY_INLINE void StoreHalf(DF df, Float32<DF> a, Float32<DF> b, Row<uint16_t> row,
                                   int64_t lane, int64_t,
                                   typename Format::template Doubt<DF>& doubt) {
    if constexpr (Format::kPacksPairs) {
      const hn::Repartition<uint16_t, DF> d;
      StoreVector<stores>(Format::FromF32Pair(df, a, b, doubt), d, row.data + lane);
    } else {
      const hn::Rebind<uint16_t, DF> d;
      StoreVector<stores>(Format::FromF32(df, a), d, row.data + lane);
      StoreVector<stores>(Format::FromF32(df, b), d, row.data + lane + hn::Lanes(d));
    }
  }

  // Levels: int8, or what saturates to it, in the upper 16 bits of each lane.
  template <Stores stores, class DF>
  static HWY_INLINE void StoreLevels(DF df, Int32<DF> a, Int32<DF> b, Row<int8_t> row, int64_t lane,
                                     int64_t) {
#if HWY_TARGET == HWY_SCALAR
    const hn::Rebind<int8_t, DF> d;
    hn::StoreU(hn::DemoteTo(d, hn::ShiftRight<16>(a)), d, row.data + lane);
    hn::StoreU(hn::DemoteTo(d, hn::ShiftRight<16>(b)), d, row.data + lane + 1);
    (void)df;
#else
    const hn::Half<hn::Repartition<int8_t, DF>> d;
    StoreVector<stores>(Pack::UpperTo8(df, a, b), d, row.data + lane);
#endif
  }
};

#if HWY_TARGET == HWY_SCALAR
using EvenOddLanes = DenseLanes;
#else
// For bf16, whose bits are the upper half of an f32's: a 32-bit lane of two bf16 is widened by a
// shift for the even and a mask for the odd one, and put together again by a shift and a blend.
struct EvenOddLanes {
  static constexpr bool kDense = true;

  template <class DF, class T, class V = hn::Vec<hn::Rebind<T, DF>>>
  static HWY_INLINE void Load(DF df, Row<const T> row, int64_t lane, int64_t n, V& a, V& b) {
    V first, second;
    DenseLanes::Load(df, row, lane, n, first, second);
    const hn::Rebind<T, DF> d;
    a = hn::ConcatEven(d, second, first);
    b = hn::ConcatOdd(d, second, first);
  }

  template <class Format, class DF>
  static HWY_INLINE void LoadHalf(DF df, Row<const uint16_t> row, int64_t lane, int64_t,
                                  Float32<DF>& a, Float32<DF>& b) {
    const hn::RebindToUnsigned<DF> du;
    const hn::Repartition<uint16_t, DF> du16;
    auto both = hn::BitCast(du, hn::LoadU(du16, row.data + lane));
#if HWY_ARCH_X86
    // Else g++ loads twice, and far from the caches both loads wait: 8 % of a call's time.
    asm("" : "+v"(both.raw));
#endif
    a = hn::BitCast(df, hn::ShiftLeft<16>(both));
    b = hn::BitCast(df, hn::And(both, hn::Set(du, 0xFFFF0000u)));
  }

  template <class Format, Stores stores, class DF>
  static HWY_INLINE void StoreHalf(DF df, Float32<DF> a, Float32<DF> b, Row<uint16_t> row,
                                   int64_t lane, int64_t,
                                   typename Format::template Doubt<DF>& doubt) {
    const hn::Repartition<uint16_t, DF> d;
    StoreVector<stores>(Format::FromF32EvenOdd(df, a, b, doubt), d, row.data + lane);
  }

  template <Stores stores, class DF>
  static HWY_INLINE void StoreLevels(DF df, Int32<DF> a, Int32<DF> b, Row<int8_t> row, int64_t lane,
                                     int64_t) {
    const hn::Half<hn::Repartition<int8_t, DF>> d8;
    StoreVector<stores>(Pack::Narrow(d8, Pack::UpperEvenOdd(df, a, b)), d8, row.data + lane);
  }
};
#endif

// Goes through small buffers, so that every rule of addressing is in two loops. Slow.
struct StridedLanes {
  static constexpr bool kDense = false;

  template <class DF, class T, class V = hn::Vec<hn::Rebind<T, DF>>>
  static HWY_INLINE void Load(DF df, Row<const T> row, int64_t lane, int64_t n, V& a, V& b) {
    T lanes[2 * kMaxLanes];
    for (int64_t i = 0; i < Step(df); ++i) {
      lanes[i] = lane + i < n ? row.data[(lane + i) * row.stride] : T{0};
    }
    DenseLanes::Load(df, Row<const T>{lanes, 1}, 0, n, a, b);
  }

  template <class Format, class DF>
  static HWY_INLINE void LoadHalf(DF df, Row<const uint16_t> row, int64_t lane, int64_t n,
                                  Float32<DF>& a, Float32<DF>& b) {
    Bits16<DF> bits_a, bits_b;
    Load(df, row, lane, n, bits_a, bits_b);
    a = Format::ToF32(df, bits_a);
    b = Format::ToF32(df, bits_b);
  }

  template <class Format, Stores stores, class DF>
  static HWY_INLINE void StoreHalf(DF df, Float32<DF> a, Float32<DF> b, Row<uint16_t> row,
                                   int64_t lane, int64_t n,
                                   typename Format::template Doubt<DF>& doubt) {
    uint16_t lanes[2 * kMaxLanes];
    DenseLanes::StoreHalf<Format, Stores::kOrdinary>(df, a, b, {lanes, 1}, 0, n, doubt);
    Scatter(df, lanes, row, lane, n);
  }

  template <Stores stores, class DF>
  static HWY_INLINE void StoreLevels(DF df, Int32<DF> a, Int32<DF> b, Row<int8_t> row, int64_t lane,
                                     int64_t n) {
    int8_t lanes[2 * kMaxLanes];
    DenseLanes::StoreLevels<Stores::kOrdinary>(df, a, b, {lanes, 1}, 0, n);
    Scatter(df, lanes, row, lane, n);
  }

 private:
  template <class DF>
  static HWY_INLINE int64_t Step(DF df) {
    return 2 * static_cast<int64_t>(hn::Lanes(df));
  }

  template <class DF, class T>
  static HWY_INLINE void Scatter(DF df, const T* lanes, Row<T> row, int64_t lane, int64_t n) {
    for (int64_t i = 0; i < Step(df) && lane + i < n; ++i) {
      row.data[(lane + i) * row.stride] = lanes[i];
    }
  }
};

// The same row from `lane` on; an absent one stays absent.
template <class Lanes, class T>
HWY_INLINE Row<T> Skip(Row<T> row, int64_t lanes) {
  if (row.data) row.data += Lanes::kDense ? lanes : lanes * row.stride;
  return row;
}

// Calls body(position, lane) for each step of a row of n lanes. Where a last step does not fit,
// dense lanes pull it back to end at n, and it repeats lanes of the one before: no masks, nothing
// touched past the end, and the same bytes again, since inputs and outputs never overlap. Its
// position is not pulled back, for scratch that it must not share with its neighbour.
template <class Lanes, class DF, class Body>
HWY_INLINE void ForSteps(DF df, int64_t n, const Body& body) {
  const int64_t step = 2 * static_cast<int64_t>(hn::Lanes(df));
  for (int64_t position = 0; position < n; position += step) {
    body(position, Lanes::kDense ? HWY_MIN(position, n - step) : position);
  }
}

}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ROPEKV_KERNELS_LANES_INL_H_
