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
// flags included. The registers alone, because fegetenv and fesetenv also save the x87 state and
// take longer than a small token.
class DefaultFpEnvironment {
 public:
  DefaultFpEnvironment() : saved_(Read()) { Write(State()); }
  ~DefaultFpEnvironment() { Write(saved_); }
  DefaultFpEnvironment(const DefaultFpEnvironment&) = delete;
  DefaultFpEnvironment& operator=(const DefaultFpEnvironment&) = delete;

 private:
#if defined(__x86_64__)
  // MXCSR holds control and status flags. After reset all exceptions are masked.
  struct State {
    uint32_t mxcsr = 0x1F80;
  };
  static State Read() { return {_mm_getcsr()}; }
  static void Write(State state) { _mm_setcsr(state.mxcsr); }
#else
  struct State {
    uint64_t control = 0;
    uint64_t status = 0;
  };
  static State Read() {
    State state;
    asm volatile("mrs %0, fpcr" : "=r"(state.control));
    asm volatile("mrs %0, fpsr" : "=r"(state.status));
    return state;
  }
  static void Write(State state) {
    asm volatile("msr fpcr, %0" : : "r"(state.control) : "memory");
    asm volatile("msr fpsr, %0" : : "r"(state.status) : "memory");
  }
#endif

  State saved_;
};

}  // namespace ropekv::internal

#endif  // ROPEKV_RUN_FP_ENV_H_
