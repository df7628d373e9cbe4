// SPDX-License-Identifier: Apache-2.0
// Which instruction sets are built. To be included before any Highway header.
#ifndef ROPEKV_KERNELS_TARGETS_H_
#define ROPEKV_KERNELS_TARGETS_H_

// Left out, for their cost in build time: SSSE3 and AVX3_DL add nothing over their neighbours here,
// SVE_256 and SVE2_128 are SVE and SVE2 with the vector length fixed. EMU128 is left out so that
// the baseline is the same scalar code with every compiler.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE_256 | HWY_SVE2_128 | HWY_EMU128)
#define HWY_BROKEN_EMU128 1

// Without this a build has no target below the compiler's baseline, and on aarch64, whose baseline
// is NEON, no scalar code.
#define HWY_COMPILE_ALL_ATTAINABLE 1

// T(our name, as spelled by users, Highway's bit, Highway's function chooser, with AVX512_BF16),
// best first. Highway 1.0.3 has no target with AVX512_BF16; ours is its AVX3 and one instruction.
#define ROPEKV_TARGETS(T)                                        \
  T(kAvx512Bf16, "avx512_bf16", HWY_AVX3, HWY_CHOOSE_AVX3, true) \
  T(kAvx512, "avx512", HWY_AVX3, HWY_CHOOSE_AVX3, false)         \
  T(kAvx2, "avx2", HWY_AVX2, HWY_CHOOSE_AVX2, false)             \
  T(kSse4, "sse4", HWY_SSE4, HWY_CHOOSE_SSE4, false)             \
  T(kSve2, "sve2", HWY_SVE2, HWY_CHOOSE_SVE2, false)             \
  T(kSve, "sve", HWY_SVE, HWY_CHOOSE_SVE, false)                 \
  T(kNeon, "neon", HWY_NEON, HWY_CHOOSE_NEON, false)             \
  T(kScalar, "scalar", HWY_SCALAR, HWY_CHOOSE_FALLBACK, false)

#endif  // ROPEKV_KERNELS_TARGETS_H_
