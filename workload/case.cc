// SPDX-License-Identifier: Apache-2.0
#include "workload/case.h"

#include <cstring>
#include <limits>

namespace ropekv::workload {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// 0 absorbs even a product that does not fit: such a tensor has no elements.
int64_t SaturatingMultiply(int64_t a, int64_t b) {
  int64_t product = 0;
  if (a == 0 || b == 0) return 0;
  return __builtin_mul_overflow(a, b, &product) ? kMax : product;
}

TensorSpec HeadsOf(const Spec& spec, int64_t num_heads) {
  const auto& x = spec.x.shape;
  const int64_t head_dim = spec.k_cache.shape[3];
  if (spec.x.rank == 3) return Dense(spec.cos.dtype, {x[0], x[1], num_heads, head_dim});
  return Dense(spec.cos.dtype, {x[0], num_heads, head_dim});
}

}  // namespace

Buffer::Buffer(int64_t size)
    : bytes_(static_cast<std::byte*>(::operator new (size, std::align_val_t{64}))), size_(size) {}

Buffer Buffer::Clone() const {
  Buffer copy(size_);
  if (size_ > 0) std::memcpy(copy.data(), data(), size_);
  return copy;
}

void Buffer::Fill(uint8_t byte) {
  if (size_ > 0) std::memset(data(), byte, size_);
}

Args Case::args() const {
  Args args;
  for (const TensorField& field : kTensorFields) {
    const Buffer& buffer = (*this)[field.id];
    if (field.input) {
      args.*field.input = buffer.data();
    } else {
      args.*field.output = buffer.data();
    }
  }
  return args;
}

int64_t NumElements(const TensorSpec& tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor.rank; ++i) count = SaturatingMultiply(count, tensor.shape[i]);
  return count;
}

int64_t NumBytes(const TensorSpec& tensor) {
  return SaturatingMultiply(NumElements(tensor), ElementBytes(tensor.dtype));
}

void SetOutputs(Spec* spec) {
  const int64_t kv_heads = spec->k_cache.shape[2];
  const int64_t head_dim = spec->k_cache.shape[3];
  const int64_t hidden = spec->x.rank > 0 ? spec->x.shape[spec->x.rank - 1] : 0;
  const int64_t heads = head_dim > 0 ? hidden / head_dim : 0;
  // Not from size_splits: of a bad one MakePlan says so itself, instead of blaming q.
  spec->q = HeadsOf(*spec, kv_heads <= heads / 2 ? heads - 2 * kv_heads : 0);
  if (spec->kv_output) spec->k = spec->v = HeadsOf(*spec, kv_heads);
}

Case Allocate(const Spec& spec, uint8_t poison) {
  Case made;
  made.spec = spec;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    if (!tensor.present()) continue;
    made[field.id] = Buffer(NumBytes(tensor));
    if (field.output && !IsCache(field.id)) made[field.id].Fill(poison);
  }
  return made;
}

Buffers CloneOutputs(const Case& original, uint8_t poison) {
  Buffers copies;
  for (const TensorField& field : kTensorFields) {
    if (!field.output || !(original.spec.*field.spec).present()) continue;
    Buffer& copy = copies[static_cast<int>(field.id)];
    copy = IsCache(field.id) ? original[field.id].Clone() : Buffer(original[field.id].size());
    if (!IsCache(field.id)) copy.Fill(poison);
  }
  return copies;
}

Args WithOutputs(Args args, const Buffers& outputs) {
  for (const TensorField& field : kTensorFields) {
    if (field.output) args.*field.output = outputs[static_cast<int>(field.id)].data();
  }
  return args;
}

}  // namespace ropekv::workload
