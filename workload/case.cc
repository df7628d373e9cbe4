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

TensorSpec HeadsOf(const Spec& spec, DType dtype, int64_t num_heads) {
  const auto& x = spec.x.shape;
  const int64_t head_dim = spec.k_cache.shape[3];
  if (spec.x.rank == 3) return Dense(dtype, {x[0], x[1], num_heads, head_dim});
  return Dense(dtype, {x[0], num_heads, head_dim});
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

std::byte* Case::address(TensorId id) const {
  const View& view = views[static_cast<int>(id)];
  if (view.of == TensorId::kNoTensor) return (*this)[id].data();
  return (*this)[view.of].data() + view.offset_bytes;
}

Args Case::args() const {
  Args args;
  for (const TensorField& field : kTensorFields) {
    if (field.input) {
      args.*field.input = address(field.id);
    } else {
      args.*field.output = address(field.id);
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

void Pack(Spec* spec) {
  TensorSpec& cos = spec->cos;
  for (int i = 0; i + 1 < cos.rank; ++i) cos.stride[i] *= 2;
  spec->sin = cos;
}

bool IsPacked(const Spec& spec) {
  const TensorSpec& cos = spec.cos;
  return cos.rank >= 2 && cos.shape[cos.rank - 1] > 0 &&
         cos.stride[cos.rank - 2] == 2 * cos.shape[cos.rank - 1];
}

TensorSpec PackedAngles(const Spec& spec) {
  TensorSpec packed = spec.cos;
  packed.shape[packed.rank - 1] *= 2;
  return packed;
}

DType OutputDType(const Spec& spec) {
  const DType x = spec.x.dtype;
  return x == DType::kI32 || x == DType::kNone ? spec.cos.dtype : x;
}

void SetOutputs(Spec* spec, DType dtype) {
  const int64_t kv_heads = spec->k_cache.shape[2];
  const int64_t head_dim = spec->k_cache.shape[3];
  const int64_t hidden = spec->x.rank > 0 ? spec->x.shape[spec->x.rank - 1] : 0;
  const int64_t heads = head_dim > 0 ? hidden / head_dim : 0;
  // Not from size_splits: of a bad one MakePlan says so itself, instead of blaming q.
  spec->q = HeadsOf(*spec, dtype, kv_heads <= heads / 2 ? heads - 2 * kv_heads : 0);
  if (spec->kv_output) spec->k = spec->v = HeadsOf(*spec, dtype, kv_heads);
}

int64_t IndexAt(const Case& made, TensorId id, int64_t i) {
  const bool wide = (made.spec.*kTensorFields[static_cast<int>(id)].spec).dtype == DType::kI64;
  return wide ? made[id].as<int64_t>()[i] : made[id].as<int32_t>()[i];
}

void SetIndex(const Case& made, TensorId id, int64_t i, int64_t value) {
  const bool wide = (made.spec.*kTensorFields[static_cast<int>(id)].spec).dtype == DType::kI64;
  if (wide) {
    made[id].as<int64_t>()[i] = value;
  } else {
    made[id].as<int32_t>()[i] = static_cast<int32_t>(value);
  }
}

Case Allocate(const Spec& spec, uint8_t poison) {
  Case made;
  made.spec = spec;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    if (!tensor.present()) continue;
    const bool packed = IsPacked(spec);
    if (packed && field.id == TensorId::kSin) {
      const int64_t width = tensor.shape[tensor.rank - 1];
      made.views[static_cast<int>(field.id)] = {TensorId::kCos, width * ElementBytes(tensor.dtype)};
      continue;
    }
    made[field.id] = Buffer((packed && field.id == TensorId::kCos ? 2 : 1) * NumBytes(tensor));
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
