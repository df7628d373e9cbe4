// SPDX-License-Identifier: Apache-2.0
// Random legal Specs, and data that reaches the hard cases.
#ifndef ROPEKV_TESTS_SUPPORT_SAMPLER_H_
#define ROPEKV_TESTS_SUPPORT_SAMPLER_H_

#include <cstddef>
#include <ostream>
#include <vector>

#include "ropekv/ropekv.h"
#include "support/rng.h"

namespace ropekv::testing {

// One row of kernels/variants.h.
struct Variant {
  DType source;
  DType output;
  Numerics numerics;
  const char* name;
};
const std::vector<Variant>& AllVariants();
inline void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

struct SampleOptions {
  int64_t max_tokens = 40;
  bool strided = true;       // false: row-major tensors only
  bool device_only = false;  // only what the NPU's operator has too, whatever its sizes
};

// A legal Spec of this variant: any rank, layout, head counts, even head_dim from 2 to 1030,
// biases, offsets, kv_output; positions, every rotation, f32 cos and sin, dtypes and shapes of
// indices, caches and scales, all of them together; with strides padded, permuted, negative or
// broadcast here and there.
Spec SampleSpec(Rng& rng, const Variant& variant, const SampleOptions& options = {});

// What the numbers are like.
enum class Flavour {
  kPlain,      // as in a model; some values saturate
  kTies,       // k and v fall on halves of a step; the rotation is by 0 degrees
  kSpecial,    // random bit patterns: NaN, inf, huge accumulators, scales of 0
  kSubnormal,  // tiny values: subnormal outputs and intermediate results
};
inline constexpr Flavour kFlavours[] = {Flavour::kPlain, Flavour::kTies, Flavour::kSpecial,
                                        Flavour::kSubnormal};
const char* Name(Flavour flavour);

// A strided tensor's memory: `storage` bytes, element [0, 0, ...] at `origin`.
struct Extent {
  size_t storage = 0;
  size_t origin = 0;
};
Extent ExtentOf(const TensorSpec& tensor);

// Fills every element of one input at `origin` (indices included: distinct slots, some padding;
// positions: rows of the table, some of them twice).
void FillInput(Rng& rng, const Spec& spec, TensorId id, Flavour flavour, void* origin);

// Calls visit(element) for every element's offset, in row-major order.
template <class Visit>
void ForEachElement(const TensorSpec& tensor, const Visit& visit) {
  int64_t index[TensorSpec::kMaxRank] = {};
  for (int i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] == 0) return;
  }
  while (true) {
    int64_t element = 0;
    for (int i = 0; i < tensor.rank; ++i) element += index[i] * tensor.stride[i];
    visit(element);
    int dim = tensor.rank - 1;
    while (dim >= 0 && ++index[dim] == tensor.shape[dim]) index[dim--] = 0;
    if (dim < 0) return;
  }
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SUPPORT_SAMPLER_H_
