// SPDX-License-Identifier: Apache-2.0
// Arithmetic as the contract wants it, whatever the caller's thread was set to.
#ifndef ROPEKV_RUN_FP_ENV_H_
#define ROPEKV_RUN_FP_ENV_H_

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#error "ropekv knows the floating-point control of x86-64 and aarch64 only"
#endif

namespace ropekv::internal {

// While alive: round to nearest even, subnormals kept, no traps. Restores what it found, status
// flags included. The register alone, because fegetenv and fesetenv also save the x87 state and
// take longer than a small token.
class DefaultFpEnvironment {
 public:
  DefaultFpEnvironment() : saved_(Read()) { Write(kDefault); }
  ~DefaultFpEnvironment() { Write(saved_); }
  DefaultFpEnvironment(const DefaultFpEnvironment&) = delete;
  DefaultFpEnvironment& operator=(const DefaultFpEnvironment&) = delete;

 private:
#if defined(__x86_64__)
  using Register = uint32_t;
  static constexpr Register kDefault = 0x1F80;  // MXCSR after reset: all exceptions masked
  static Register Read() { return _mm_getcsr(); }
  static void Write(Register value) { _mm_setcsr(value); }
#else
  using Register = uint64_t;
  static constexpr Register kDefault = 0;  // FPCR after reset
  static Register Read() {
    Register value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void Write(Register value) { asm volatile("msr fpcr, %0" : : "r"(value) : "memory"); }
#endif

  Register saved_;
};

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_FP_ENV_H_
