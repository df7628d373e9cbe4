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

// T(our name, as spelled by users, Highway's bit, Highway's function chooser, what is done by
// AVX512_BF16), best first, but for the first two: see targets.cc. Those with AVX512_BF16 are
// Highway's AVX3 and one or two instructions of our own: Highway 1.0.3 has no such target, and with
// those of 1.2 (AVX3_ZEN4, AVX3_SPR) the kernels would differ by its version. No kernel is made for
// these.
#define ROPEKV_TARGETS(T)                                                          \
  T(kAvx512Bf16Dot, "avx512_bf16_dot", HWY_AVX3, HWY_CHOOSE_AVX3, kRoundingAndDot) \
  T(kAvx512Bf16, "avx512_bf16", HWY_AVX3, HWY_CHOOSE_AVX3, kRounding)              \
  T(kAvx512, "avx512", HWY_AVX3, HWY_CHOOSE_AVX3, kNothing)                        \
  T(kAvx2, "avx2", HWY_AVX2, HWY_CHOOSE_AVX2, kNothing)                            \
  T(kSse4, "sse4", HWY_SSE4, HWY_CHOOSE_SSE4, kNothing)                            \
  T(kSve2, "sve2", HWY_SVE2, HWY_CHOOSE_SVE2, kNothing)                            \
  T(kSve, "sve", HWY_SVE, HWY_CHOOSE_SVE, kNothing)                                \
  T(kNeon, "neon", HWY_NEON, HWY_CHOOSE_NEON, kNothing)                            \
  T(kScalar, "scalar", HWY_SCALAR, HWY_CHOOSE_FALLBACK, kNothing)

#endif  // ROPEKV_KERNELS_TARGETS_H_
