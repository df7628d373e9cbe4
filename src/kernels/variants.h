// SPDX-License-Identifier: Apache-2.0
// The list of fused kernels, by source dtype: V(source, output dtype, numerics). It feeds the
// build, dispatch, tests and benchmarks; a variant that is listed is built for every target, tested
// and measured.
#ifndef ROPEKV_KERNELS_VARIANTS_H_
#define ROPEKV_KERNELS_VARIANTS_H_

// One translation unit each: CMake reads these lines.
#define ROPEKV_SOURCES(S) \
  S(kI32)                 \
  S(kF16)                 \
  S(kBF16)                \
  S(kF32)

#define ROPEKV_VARIANTS_OF_kI32(V) \
  V(kI32, kF16, kFloat32)          \
  V(kI32, kF16, kAscend)           \
  V(kI32, kBF16, kFloat32)         \
  V(kI32, kF32, kFloat32)
#define ROPEKV_VARIANTS_OF_kF16(V) \
  V(kF16, kF16, kFloat32)          \
  V(kF16, kF16, kAscend)
#define ROPEKV_VARIANTS_OF_kBF16(V) V(kBF16, kBF16, kFloat32)
#define ROPEKV_VARIANTS_OF_kF32(V) V(kF32, kF32, kFloat32)

#define ROPEKV_VARIANTS(V)                                                          \
  ROPEKV_VARIANTS_OF_kI32(V) ROPEKV_VARIANTS_OF_kF16(V) ROPEKV_VARIANTS_OF_kBF16(V) \
      ROPEKV_VARIANTS_OF_kF32(V)

#endif  // ROPEKV_KERNELS_VARIANTS_H_
