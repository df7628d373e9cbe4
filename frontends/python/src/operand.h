// SPDX-License-Identifier: Apache-2.0
// A Python object taken for a tensor: NumPy arrays, torch tensors, anything with DLPack. Copies
// nothing.
#ifndef ROPEKV_FRONTENDS_PYTHON_OPERAND_H_
#define ROPEKV_FRONTENDS_PYTHON_OPERAND_H_

#include <nanobind/nanobind.h>

#include "frontends/python/src/dlpack.h"
#include "ropekv/ropekv.h"

namespace ropekv::python {

namespace nb = nanobind;

// Valid as long as the object it was made from.
class Operand {
 public:
  Operand() = default;
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;
  ~Operand();

  // Throws TypeError or ValueError; the messages begin with `name`. Precondition: called once.
  void Read(const char* name, nb::handle object, bool written);

  TensorSpec spec;
  void* data = nullptr;

 private:
  void ReadArrayStruct(const char* name, nb::handle object, nb::handle capsule, bool written);
  void ReadCapsule(const char* name, nb::handle object, bool written);
  void ReadDLTensor(const char* name, const dlpack::Tensor& tensor);

  nb::object kept_;  // what owns the memory, where it is not the object itself
  dlpack::ManagedTensor* managed_ = nullptr;
  dlpack::ManagedTensorVersioned* versioned_ = nullptr;
};

// The table of the object's type; null if it has none. Kept for the last types that were asked for.
const dlpack::ExchangeApi* FindExchangeApi(nb::handle object);

// A new tensor of the shape and dtype of `spec`, in the family of `model`: torch's for torch, and
// NumPy's for what can make none itself.
nb::object NewLike(nb::handle model, const TensorSpec& spec);

}  // namespace ropekv::python

#endif  // ROPEKV_FRONTENDS_PYTHON_OPERAND_H_
