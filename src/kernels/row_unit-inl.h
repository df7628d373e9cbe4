// SPDX-License-Identifier: Apache-2.0
// The body of row_<source>.cc: compiles the variants of ROPEKV_SOURCE for every target, and finds
// them again at run time. Has no include guard of its own: Highway includes it once per target.
// clang-format off
#include "kernels/targets.h"
#include "hwy/foreach_target.h"
// clang-format on

#include "hwy/highway.h"
#include "kernels/row-inl.h"
#include "kernels/row_find.h"
#include "kernels/variants.h"

#define ROPEKV_CONCAT_INNER(a, b) a##b
#define ROPEKV_CONCAT(a, b) ROPEKV_CONCAT_INNER(a, b)

HWY_BEFORE_NAMESPACE();
namespace ropekv::internal::HWY_NAMESPACE {
namespace {

template <bool native_bf16>
RowFn Find(DType output, Numerics numerics, bool dense) {
#define ROPEKV_FIND(SOURCE, OUTPUT, NUMERICS)                                                    \
  if (output == DType::OUTPUT && numerics == Numerics::NUMERICS) {                               \
    constexpr bool kNative = native_bf16 && DType::OUTPUT == DType::kBF16;                       \
    return dense ? &Rows<DType::SOURCE, DType::OUTPUT, Numerics::NUMERICS, DenseLanes, kNative>  \
                 : &Rows<DType::SOURCE, DType::OUTPUT, Numerics::NUMERICS, StridedLanes, false>; \
  }
  ROPEKV_CONCAT(ROPEKV_VARIANTS_OF_, ROPEKV_SOURCE)
  (ROPEKV_FIND)
#undef ROPEKV_FIND
      return nullptr;
}

}  // namespace
}  // namespace ropekv::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropekv::internal {

RowFn ROPEKV_CONCAT(FindRows_, ROPEKV_SOURCE)(Target target, DType output, Numerics numerics,
                                              bool dense) {
  using FindFn = RowFn (*)(DType, Numerics, bool);
  struct Row {
    Target target;
    FindFn find;  // null: not built for this processor
  };
  static constexpr Row kRows[] = {
#define ROPEKV_TARGET_ROW(target, name, bit, choose, native) {Target::target, choose(Find<native>)},
      ROPEKV_TARGETS(ROPEKV_TARGET_ROW)
#undef ROPEKV_TARGET_ROW
  };
  for (const Row& row : kRows) {
    if (row.target == target && row.find) return row.find(output, numerics, dense);
  }
  return nullptr;
}

}  // namespace ropekv::internal
#endif  // HWY_ONCE
