// SPDX-License-Identifier: Apache-2.0
// A legal call with one thing changed.
#ifndef ROPEKV_TESTS_ACLNN_CHANGED_CALL_H_
#define ROPEKV_TESTS_ACLNN_CHANGED_CALL_H_

#include <vector>

#include "aclnn/call.h"
#include "support/problem.h"

namespace ropekv::testing {

// A small legal call with every tensor present.
inline Shape SmallShape() {
  return {.batch = 2,
          .seq_len = 3,
          .num_q_heads = 4,
          .num_kv_heads = 2,
          .head_dim = 16,
          .x_dtype = DType::kI32,
          .out_dtype = DType::kF16,
          .cache_shape = {2, 8},
          .kv_output = true,
          .offsets = true,
          .activation_scale = true,
          .bias_dtype = DType::kF32};
}

inline Spec SmallSpec() { return AscendSpec(SmallShape()); }

struct Fixture {
  Fixture() : Fixture(SmallSpec()) {}
  explicit Fixture(const Spec& spec)
      : problem(spec, Flavour::kPlain, 1), call(spec, problem.actual()) {}
  Problem problem;
  AclCall call;
};

inline void SetSplits(AclCall& call, std::vector<int64_t> values) {
  call.size_splits.reset(aclCreateIntArray(values.data(), values.size()));
}

inline auto Absent(TensorId id) {
  return [id](AclCall& call) { call.Remove(id); };
}

inline auto With(TensorId id, const TensorSpec& spec) {
  return [id, spec](AclCall& call) { call.Replace(id, spec, nullptr); };
}

inline auto InFormat(TensorId id, aclFormat format) {
  return [id, format](AclCall& call) {
    const int64_t dims[] = {2, 8, 2, 16};
    aclInitTensor(call.tensor(id), dims, 4, ACL_INT8, nullptr, 0, format, dims, 4, nullptr);
  };
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_ACLNN_CHANGED_CALL_H_
