// SPDX-License-Identifier: Apache-2.0
// Python's tensors and options become the library's, for one call or for a plan.
#ifndef ROPEKV_FRONTENDS_PYTHON_CALL_H_
#define ROPEKV_FRONTENDS_PYTHON_CALL_H_

#include <nanobind/nanobind.h>

#include <array>

#include "frontends/python/src/operand.h"

namespace ropekv::python {

enum class Action { kRun, kReference, kCheck };

// Throws the Python exception that fits the code; nothing if ok.
void ThrowIfError(const Status& status);

// The tensors of one call, in the order of kTensorFields.
class Call {
 public:
  // `tensors` must outlive the call; None is an absent tensor. Throws.
  explicit Call(nb::tuple tensors);

  // Sets the tensors of `spec`, also of outputs that were not given.
  void Describe(Spec* spec) const;
  // Throws unless the tensors are those that `planned` describes; those in `owned` must be absent.
  void MustMatch(const Spec& planned, const std::array<bool, kNumTensors>& owned) const;
  // Makes the outputs that are missing, does the work without the GIL, and returns (q, k, v).
  nb::tuple Do(Action action, const Plan& plan, const RunOptions& options);
  // Those of the tensors that were given.
  Args args() const;

 private:
  bool given(size_t i) const { return operands_[i].spec.present(); }

  nb::tuple tensors_;
  std::array<Operand, kNumTensors> operands_;
};

}  // namespace ropekv::python

#endif  // ROPEKV_FRONTENDS_PYTHON_CALL_H_
