// SPDX-License-Identifier: Apache-2.0
// What the files of rules about a Spec share.
#ifndef ROPEKV_PLAN_CHECKS_H_
#define ROPEKV_PLAN_CHECKS_H_

#include <cstdint>
#include <string>
#include <utility>

#include "plan/plan.h"

namespace ropekv::internal {

// "[1, 2, 3]"
std::string Show(const int64_t* values, int count);

// The rules return false when they fail, so that they read as one && chain; `status` is then the
// answer.
class SpecRules {
 public:
  explicit SpecRules(Spec& spec) : spec_(spec) {}
  Status TakeStatus() { return std::move(status_); }

 protected:
  bool Fail(StatusCode code, TensorId id, std::string detail) {
    status_ = Status(code, id, std::move(detail));
    return false;
  }
  bool Fail(StatusCode code, const char* culprit, std::string detail) {
    status_ = Status(code, culprit, std::move(detail));
    return false;
  }
  TensorSpec& Tensor(TensorId id) { return spec_.*kTensorFields[static_cast<size_t>(id)].spec; }

  Spec& spec_;

 private:
  Status status_;
};

// Each one file of rules.
Status CheckDTypes(Spec& spec);
Status CheckShapes(Spec& spec, Sizes& sizes, std::array<Footprint, kNumTensors>& footprints);
Status CheckDeviceLimits(Spec& spec, const Sizes& sizes);

}  // namespace ropekv::internal

#endif  // ROPEKV_PLAN_CHECKS_H_
