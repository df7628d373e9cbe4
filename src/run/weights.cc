// SPDX-License-Identifier: Apache-2.0
#include "run/weights.h"

#include <cstring>
#include <new>
#include <utility>

#include "plan/failure.h"
#include "run/check_args.h"

namespace ropekv {
namespace internal {
namespace {

const TensorField& FieldOf(TensorId id) { return kTensorFields[static_cast<size_t>(id)]; }

// The same tensor, row-major.
TensorSpec RowMajor(const TensorSpec& tensor) {
  return tensor.rank == 1 ? Dense(tensor.dtype, {tensor.shape[0]})
                          : Dense(tensor.dtype, {tensor.shape[0], tensor.shape[1]});
}

int64_t Elements(const TensorSpec& tensor) {
  return tensor.shape[0] * (tensor.rank == 1 ? 1 : tensor.shape[1]);
}

void CopyRowMajor(const TensorSpec& tensor, const void* from, void* to) {
  const auto bytes = static_cast<size_t>(ElementBytes(tensor.dtype));
  const int64_t columns = tensor.rank == 1 ? 1 : tensor.shape[1];
  auto* at = static_cast<char*>(to);
  for (int64_t row = 0; row < tensor.shape[0]; ++row) {
    for (int64_t column = 0; column < columns; ++column, at += bytes) {
      const int64_t element =
          row * tensor.stride[0] + (tensor.rank == 1 ? 0 : column * tensor.stride[1]);
      std::memcpy(at, static_cast<const char*>(from) + element * static_cast<int64_t>(bytes),
                  bytes);
    }
  }
}

// Hands out the lines of one allocation; without one, adds up what it must be.
class Arena {
 public:
  explicit Arena(std::byte* memory) : memory_(memory) {}
  // Sizes that overflow are of more than any memory: with strides of 0, and no token, a Spec may
  // have any number of heads.
  void* Take(int64_t count, int64_t element_bytes) {
    std::byte* taken = memory_ ? memory_ + size_ : nullptr;
    int64_t bytes = 0;
    if (__builtin_mul_overflow(count, element_bytes, &bytes) ||
        __builtin_add_overflow(bytes, kLineBytes - 1, &bytes) ||
        __builtin_add_overflow(size_, bytes / kLineBytes * kLineBytes, &size_)) {
      throw std::bad_alloc();
    }
    return taken;
  }
  size_t size() const { return static_cast<size_t>(size_); }

 private:
  std::byte* memory_;
  int64_t size_ = 0;
};

// Places everything; twice, first to know the size.
void Place(const PlanData& plan, Arena& arena, BoundWeights& weights) {
  for (const TensorId id : kWeights) {
    const TensorSpec& tensor = plan.normalised.*FieldOf(id).spec;
    if (!tensor.present()) continue;
    weights.args.*FieldOf(id).input = arena.Take(Elements(tensor), ElementBytes(tensor.dtype));
  }
  if (plan.packed || plan.kernel.exact) return;
  for (int p = 0; p < plan.call.num_parts; ++p) {
    const PartCall& part = plan.parts[p];
    if (part.sink != Sink::kQuantise || part.num_heads == 0) continue;
    const int64_t head_bytes = plan.kernel.TableSize(part) * static_cast<int64_t>(sizeof(float));
    weights.tables[p].reciprocals = static_cast<float*>(arena.Take(part.num_heads, head_bytes));
    weights.tables[p].shifts = static_cast<float*>(arena.Take(part.num_heads, head_bytes));
  }
}

void PrepareTables(const PlanData& plan, const BoundWeights& weights) {
  for (int p = 0; p < plan.call.num_parts; ++p) {
    PartCall part = plan.parts[p];
    part.tables = weights.tables[p];
    if (part.tables.reciprocals == nullptr) continue;
    SetScales(
        plan.part_tensors[p], [&](TensorId id) { return weights.args.*FieldOf(id).input; }, part);
    plan.kernel.prepare(part);
  }
}

Result<Plan> Bind(const PlanData& plan, const Args& args) {
  if (Status status = CheckWeights(plan, args); !status.ok()) return status;
  const Args given = WithWeights(plan, args);

  // The same plan for row-major weights.
  Spec spec = plan.spec;
  spec.target = plan.target;
  for (const TensorId id : kWeights) {
    TensorSpec& tensor = spec.*FieldOf(id).spec;
    if ((plan.normalised.*FieldOf(id).spec).present()) tensor = RowMajor(tensor);
  }
  const Result<Plan> made = MakePlan(spec, plan.cache_bytes);
  if (!made.ok()) return made.status();
  auto bound = std::make_shared<PlanData>(made->data());

  auto weights = std::make_shared<BoundWeights>();
  Arena size(nullptr);
  Place(*bound, size, *weights);
  weights->memory.reset(new (std::align_val_t(kLineBytes)) std::byte[size.size()]);
  Arena arena(weights->memory.get());
  Place(*bound, arena, *weights);
  for (const TensorId id : kWeights) {
    const TensorSpec& tensor = plan.normalised.*FieldOf(id).spec;
    if (!tensor.present()) continue;
    CopyRowMajor(tensor, given.*FieldOf(id).input,
                 const_cast<void*>(weights->args.*FieldOf(id).input));
  }
  PrepareTables(*bound, *weights);
  for (const TensorId id : kWeights) bound->footprints[static_cast<size_t>(id)] = {};
  ListArgTensors(*bound);
  bound->weights = std::move(weights);
  return Plan(std::move(bound));
}

}  // namespace

}  // namespace internal

Result<Plan> BindWeights(const Plan& plan, const Args& weights) noexcept {
  try {
    return internal::Bind(plan.data(), weights);
  } catch (...) {
    return internal::StatusOfException();
  }
}

}  // namespace ropekv
