// SPDX-License-Identifier: Apache-2.0
// A legal call with one thing changed.
#ifndef ROPEKV_TESTS_ACLNN_CHANGED_CALL_H_
#define ROPEKV_TESTS_ACLNN_CHANGED_CALL_H_

#include <vector>

#include "aclnn/call.h"
#include "support/problem.h"

namespace ropekv::testing {

// B = 2, S = 3, Nq = 4, Nkv = 2, D = 16.
inline Spec SmallSpec() {
  Spec spec;
  spec.x = Dense(DType::kI32, {2, 3, 128});
  spec.cos = spec.sin = Dense(DType::kF16, {2, 3, 1, 16});
  spec.k_cache = spec.v_cache = Dense(DType::kI8, {2, 8, 2, 16});
  spec.indices = Dense(DType::kI32, {2});
  spec.scale_k = spec.scale_v = spec.offset_k = spec.offset_v = Dense(DType::kF32, {2, 16});
  spec.weight_scale = spec.bias = Dense(DType::kF32, {128});
  spec.activation_scale = Dense(DType::kF32, {6});
  spec.q = Dense(DType::kF16, {2, 3, 4, 16});
  spec.k = spec.v = Dense(DType::kF16, {2, 3, 2, 16});
  spec.size_splits = {64, 32, 32};
  spec.kv_output = true;
  spec.numerics = Numerics::kAscend;
  return spec;
}

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
