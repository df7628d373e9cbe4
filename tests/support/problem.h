// SPDX-License-Identifier: Apache-2.0
// A Spec with data, runnable by the kernels and by the reference on separate outputs.
#ifndef ROPEKV_TESTS_SUPPORT_PROBLEM_H_
#define ROPEKV_TESTS_SUPPORT_PROBLEM_H_

#include <array>
#include <cstdint>
#include <string>

#include "ropekv/ropekv.h"
#include "support/guarded_buffer.h"
#include "support/sampler.h"

namespace ropekv::testing {

// What a comparison met: proof that the hard cases were reached.
struct Coverage {
  int64_t bytes = 0;          // compared
  int64_t changed_bytes = 0;  // of them, those the operator wrote something new to
  int64_t nan = 0;            // outputs, floating-point caches among them
  int64_t inf = 0;
  int64_t subnormal = 0;
  int64_t lowest = 0;  // entries of i8 caches written as -128
  int64_t highest = 0;

  Coverage& operator+=(const Coverage& other);
};

class Problem {
 public:
  // Inputs are filled and become read-only; outputs hold a pattern. Every tensor is fenced by guard
  // pages: at its end, or with fence_start at its start.
  Problem(const Spec& spec, Flavour flavour, uint64_t seed, bool fence_start = false);

  const Spec& spec() const { return spec_; }
  Args actual() const { return Bind(actual_); }
  Args expected() const { return Bind(expected_); }

  void ResetActual() { Poison(actual_); }
  // An input made writable again, for tests that spoil one.
  void* MutableInput(TensorId id);

  // "" if every byte of every output, gaps between strided elements included, is as expected; two
  // NaNs, which only an i8 cache cannot hold, count as equal. Otherwise the first difference.
  std::string Compare(Coverage* coverage = nullptr) const;
  // "" if no output byte has changed since it was poisoned. Fails if there is no output byte.
  std::string CompareUntouched() const;

 private:
  using Buffers = std::array<GuardedBuffer, kNumTensors>;

  Args Bind(const Buffers& outputs) const;
  void Poison(Buffers& outputs) const;

  Spec spec_;
  std::array<Extent, kNumTensors> extents_;
  Buffers inputs_;
  Buffers actual_;
  Buffers expected_;
};

// Runs both and compares; "" or what went wrong.
std::string RunAndCompare(Problem& problem, const Plan& plan, const RunOptions& options,
                          Coverage* coverage = nullptr);

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_PROBLEM_H_
