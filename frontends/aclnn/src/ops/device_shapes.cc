// SPDX-License-Identifier: Apache-2.0
#include "ops/device_shapes.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace ropekv::acl {
namespace {

std::string ShapeText(const TensorSpec& tensor) {
  std::string text = "[";
  for (int i = 0; i < std::min<int>(tensor.rank, TensorSpec::kMaxRank); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(tensor.shape[i]);
  }
  return text + (tensor.rank > TensorSpec::kMaxRank ? ", ...]" : "]");
}

// Wraps round, as extents that nobody has checked may; MakePlan looks at them again.
int64_t Product(const TensorSpec& tensor) {
  uint64_t product = 1;
  for (int i = 0; i < std::min<int>(tensor.rank, TensorSpec::kMaxRank); ++i) {
    product *= static_cast<uint64_t>(tensor.shape[i]);
  }
  return static_cast<int64_t>(product);
}

}  // namespace

int CheckDeviceShapes(const OperatorInfo& op, const Spec& spec) {
  const auto fail = [&op](TensorId id, const TensorSpec& found, const std::string& expected) {
    return FailWith(kErrTiling, std::string(op.tensor_names[static_cast<size_t>(id)]) +
                                    ": has shape " + ShapeText(found) + "; expected " + expected);
  };
  const TensorSpec &x = spec.x, &cache = spec.k_cache;
  const bool has_seq = x.rank == 3;
  if ((x.rank != 2 && !has_seq) || cache.rank != 4) return ACL_SUCCESS;
  const int64_t kv_heads = cache.shape[2], head_dim = cache.shape[3];

  const TensorSpec row_a_token = has_seq
                                     ? Dense(spec.cos.dtype, {x.shape[0], x.shape[1], 1, head_dim})
                                     : Dense(spec.cos.dtype, {x.shape[0], head_dim});
  for (const TensorId id : {TensorId::kCos, TensorId::kSin}) {
    const TensorSpec& angles = spec.*kTensorFields[static_cast<size_t>(id)].spec;
    if (angles.rank == row_a_token.rank && angles.shape == row_a_token.shape) continue;
    return fail(
        id, angles,
        (has_seq ? "x's [B, S] and [1, D] = " : "x's [B] and [D] = ") + ShapeText(row_a_token));
  }
  const auto channels =
      static_cast<int64_t>(static_cast<uint64_t>(kv_heads) * static_cast<uint64_t>(head_dim));
  for (const TensorId id :
       {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV}) {
    const TensorSpec& scale = spec.*kTensorFields[static_cast<size_t>(id)].spec;
    if (!scale.present() || Product(scale) == channels) continue;
    return fail(id, scale,
                "Nkv * D = " + std::to_string(channels) + " elements, one for each channel");
  }
  return ACL_SUCCESS;
}

}  // namespace ropekv::acl
