// SPDX-License-Identifier: Apache-2.0
// The compiler puts this before every source of the library (src/CMakeLists.txt): it refuses the
// flags under which results would not be the contract's, if one still applies after those that
// cmake/flags.cmake sets.
#ifndef ROPEKV_COMPILER_FLAGS_H_
#define ROPEKV_COMPILER_FLAGS_H_

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__)
#error "ropekv: results would differ with -ffast-math, -Ofast or a part of them"
#endif
#if __FINITE_MATH_ONLY__ != 0
#error "ropekv: NaN and infinity would be treated wrongly with -ffinite-math-only"
#endif
#if __FLT_EVAL_METHOD__ != 0
#error "ropekv: float must be computed in float, not wider as with -mfpmath=387"
#endif
#ifdef __CHAR_UNSIGNED__
#error "ropekv: some compilers blend bytes wrongly with -funsigned-char"
#endif

#endif  // ROPEKV_COMPILER_FLAGS_H_
