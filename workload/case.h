// SPDX-License-Identifier: Apache-2.0
// One call of the operator with the memory it works on.
#ifndef ROPEKV_WORKLOAD_CASE_H_
#define ROPEKV_WORKLOAD_CASE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "ropekv/ropekv.h"

namespace ropekv::workload {

// Owned bytes on a 64-byte boundary, uninitialised. Throws std::bad_alloc.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size);
  Buffer Clone() const;

  int64_t size() const { return size_; }
  std::byte* data() const { return bytes_.get(); }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(bytes_.get());
  }
  void Fill(uint8_t byte);

 private:
  struct Free {
    void operator()(std::byte* bytes) const { ::operator delete (bytes, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  int64_t size_ = 0;
};

// By TensorId; those of absent tensors are empty.
using Buffers = std::array<Buffer, kNumTensors>;

// A tensor that lies in the buffer of another, and its own is empty.
struct View {
  TensorId of = TensorId::kNoTensor;
  int64_t offset_bytes = 0;
};

// All tensors are row-major, but for cos and sin where they are packed.
struct Case {
  Spec spec;
  Buffers buffers;
  std::array<View, kNumTensors> views;

  Buffer& operator[](TensorId id) { return buffers[static_cast<int>(id)]; }
  const Buffer& operator[](TensorId id) const { return buffers[static_cast<int>(id)]; }
  std::byte* address(TensorId id) const;
  Args args() const;
};

// The two outputs that are also inputs.
inline bool IsCache(TensorId id) { return id == TensorId::kKCache || id == TensorId::kVCache; }

// Elements and bytes of a row-major tensor; INT64_MAX where the product does not fit.
int64_t NumElements(const TensorSpec& tensor);
int64_t NumBytes(const TensorSpec& tensor);

// Makes cos and sin, row-major till now, the two halves of the rows of one tensor.
void Pack(Spec* spec);
// Whether they are; then they have one buffer, that of cos.
bool IsPacked(const Spec& spec);
// That tensor, row-major.
TensorSpec PackedAngles(const Spec& spec);

// The dtype that q, k and v have unless it is said: x's, or that of cos if x is i32 or absent.
DType OutputDType(const Spec& spec);
// Sets spec->q, k and v, of this dtype, to what the rest of `spec` asks for. From a malformed spec
// it makes outputs that are malformed too, for MakePlan to refuse.
void SetOutputs(Spec* spec, DType dtype);

// Element i of `indices` or `positions` in its buffer.
int64_t IndexAt(const Case& made, TensorId id, int64_t i);
void SetIndex(const Case& made, TensorId id, int64_t i, int64_t value);

// A case with a buffer for every tensor of `spec`. q, k and v are filled with `poison`, so that an
// element that nobody writes shows; the others are uninitialised.
Case Allocate(const Spec& spec, uint8_t poison = 0xA5);

// Another set of outputs for the same call: copies of the caches; q, k and v filled with `poison`.
Buffers CloneOutputs(const Case& original, uint8_t poison);
// `args` with the addresses of `outputs`.
Args WithOutputs(Args args, const Buffers& outputs);

}  // namespace ropekv::workload

#endif  // ROPEKV_WORKLOAD_CASE_H_
