// SPDX-License-Identifier: Apache-2.0
#include "frontends/python/src/operand.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <string>

#include "frontends/python/src/names.h"

namespace ropekv::python {
namespace {

// What the attribute `__array_struct__` of an array holds: NumPy's array interface, version 3.
struct ArrayInterface {
  int two;
  int rank;
  char kind;
  int item_bytes;
  int flags;
  Py_ssize_t* shape;
  Py_ssize_t* strides;  // in bytes
  void* data;
  PyObject* description;
};
constexpr int kNativeOrder = 0x200;
constexpr int kWritable = 0x400;

[[noreturn]] void ThrowValue(const char* name, const std::string& detail) {
  throw nb::value_error((std::string(name) + ": " + detail).c_str());
}

[[noreturn]] void ThrowDType(const char* name, const std::string& found) {
  throw nb::type_error(
      (std::string(name) + ": has dtype " + found + ", which no tensor of the operator may have")
          .c_str());
}

std::string Text(nb::handle object) { return nb::cast<std::string>(nb::str(object)); }

std::string TypeName(nb::handle object) { return Text(nb::getattr(object.type(), "__name__")); }

void CheckRank(const char* name, int64_t rank) {
  if (rank <= TensorSpec::kMaxRank) return;
  ThrowValue(name, "has " + std::to_string(rank) + " dimensions; at most " +
                       std::to_string(TensorSpec::kMaxRank) + " are possible");
}

DType FindDType(char kind, int64_t bytes) {
  for (const DTypeName& known : kDTypeNames) {
    if (known.kind == kind && ElementBytes(known.dtype) == bytes) return known.dtype;
  }
  return DType::kNone;
}

bool IsBFloat16(nb::handle dtype) {
  // NumPy has one object for it, and asking that for its name takes a microsecond.
  static PyObject* known = nullptr;
  if (dtype.ptr() == known) return true;
  if (Text(nb::getattr(dtype, "name")) != "bfloat16") return false;
  Py_XDECREF(known);
  known = dtype.inc_ref().ptr();
  return true;
}

void CheckMayWrite(const char* name, bool read_only) {
  if (read_only) ThrowValue(name, "is read-only, and would be written");
}

// Of results, torch would believe that they do not depend on `object`.
void CheckNoGradient(const char* name, nb::handle object) {
  const nb::object requires_grad = nb::getattr(object, Interned::requires_grad(), nb::none());
  if (!requires_grad.is(nb::handle(Py_True))) return;
  const nb::object torch = nb::module_::import_("torch");
  if (!nb::cast<bool>(torch.attr("is_grad_enabled")())) return;
  ThrowValue(name,
             "requires a gradient, which this operator does not have; call it under "
             "torch.no_grad()");
}

struct CachedApi {
  PyObject* type = nullptr;
  const dlpack::ExchangeApi* api = nullptr;
};

const dlpack::ExchangeApi* AskForExchangeApi(nb::handle type) {
  PyObject* capsule = PyObject_GetAttr(type.ptr(), Interned::exchange_api().ptr());
  if (capsule == nullptr) {
    PyErr_Clear();
    return nullptr;
  }
  const nb::object held = nb::steal(capsule);
  if (!PyCapsule_IsValid(capsule, "dlpack_exchange_api")) return nullptr;
  auto* api =
      static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
  return api->version.major == 1 && api->borrow_from_object != nullptr ? api : nullptr;
}

}  // namespace

const dlpack::ExchangeApi* FindExchangeApi(nb::handle object) {
  static std::array<CachedApi, 4> cache;
  static size_t next = 0;
  PyObject* type = object.type().ptr();
  for (const CachedApi& entry : cache) {
    if (entry.type == type) return entry.api;
  }
  const dlpack::ExchangeApi* api = AskForExchangeApi(type);
  // The reference keeps another type from taking the address of this one.
  Py_INCREF(type);
  Py_XDECREF(cache[next].type);
  cache[next] = {type, api};
  next = (next + 1) % cache.size();
  return api;
}

Operand::~Operand() {
  if (managed_ != nullptr && managed_->deleter != nullptr) managed_->deleter(managed_);
  if (versioned_ != nullptr && versioned_->deleter != nullptr) versioned_->deleter(versioned_);
}

void Operand::Read(const char* name, nb::handle object, bool written) {
  if (const dlpack::ExchangeApi* api = FindExchangeApi(object)) {
    dlpack::Tensor tensor{};
    if (api->borrow_from_object(object.ptr(), &tensor) != 0) nb::raise_python_error();
    ReadDLTensor(name, tensor);
    CheckNoGradient(name, object);
    return;
  }
  PyObject* capsule = PyObject_GetAttr(object.ptr(), Interned::array_struct().ptr());
  if (capsule != nullptr) {
    ReadArrayStruct(name, object, nb::steal(capsule), written);
    return;
  }
  PyErr_Clear();
  ReadCapsule(name, object, written);
}

void Operand::ReadArrayStruct(const char* name, nb::handle object, nb::handle capsule,
                              bool written) {
  const auto* array =
      static_cast<const ArrayInterface*>(PyCapsule_GetPointer(capsule.ptr(), nullptr));
  if (array == nullptr) nb::raise_python_error();
  CheckRank(name, array->rank);
  spec.dtype = FindDType(array->kind, array->item_bytes);
  if (spec.dtype == DType::kNone || (array->flags & kNativeOrder) == 0) {
    const nb::object dtype = nb::getattr(object, "dtype");
    if (array->kind != 'V' || array->item_bytes != 2 || !IsBFloat16(dtype)) {
      ThrowDType(name, Text(dtype));
    }
    spec.dtype = DType::kBF16;
  }
  CheckMayWrite(name, written && (array->flags & kWritable) == 0);
  spec.rank = array->rank;
  for (int i = 0; i < array->rank; ++i) {
    spec.shape[i] = array->shape[i];
    if (array->strides[i] % array->item_bytes != 0 && array->shape[i] > 1) {
      ThrowValue(name, "has a stride of " + std::to_string(array->strides[i]) +
                           " bytes; must be a multiple of its elements' size, " +
                           std::to_string(array->item_bytes));
    }
    spec.stride[i] = array->strides[i] / array->item_bytes;
  }
  data = array->data;
}

void Operand::ReadDLTensor(const char* name, const dlpack::Tensor& tensor) {
  if (tensor.device.type != dlpack::kCpu) {
    ThrowValue(name, "is on a device of DLPack's type " + std::to_string(tensor.device.type) +
                         "; must be in the memory of the CPU");
  }
  CheckRank(name, tensor.rank);
  const auto [code, bits, lanes] = tensor.dtype;
  spec.dtype = DType::kNone;
  for (const DTypeName& known : kDTypeNames) {
    if (known.code == code && 8 * ElementBytes(known.dtype) == bits && lanes == 1) {
      spec.dtype = known.dtype;
    }
  }
  if (spec.dtype == DType::kNone) {
    ThrowDType(name, std::string(code == dlpack::kInt      ? "int"
                                 : code == dlpack::kUInt   ? "uint"
                                 : code == dlpack::kFloat  ? "float"
                                 : code == dlpack::kBFloat ? "bfloat"
                                 : code == dlpack::kBool
                                     ? "bool"
                                     : "of DLPack's type " + std::to_string(code) + " and bits ") +
                         std::to_string(bits) + (lanes == 1 ? "" : " x " + std::to_string(lanes)));
  }
  spec.rank = tensor.rank;
  int64_t stride = 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    spec.shape[i] = tensor.shape[i];
    spec.stride[i] = tensor.strides != nullptr ? tensor.strides[i] : stride;
    stride *= std::max<int64_t>(tensor.shape[i], 1);
  }
  data = tensor.data == nullptr ? nullptr : static_cast<char*>(tensor.data) + tensor.byte_offset;
}

void Operand::ReadCapsule(const char* name, nb::handle object, bool written) {
  if (!nb::hasattr(object, "__dlpack__") || !nb::hasattr(object, "__dlpack_device__")) {
    throw nb::type_error((std::string(name) + ": is a " + TypeName(object) +
                          "; must be a NumPy array, a torch tensor or an object with __dlpack__")
                             .c_str());
  }
  const nb::object device = object.attr("__dlpack_device__")();
  const int64_t device_type = nb::cast<int64_t>(nb::int_(nb::object(device[0])));
  if (device_type != dlpack::kCpu) {
    ThrowValue(name, "is on a device of DLPack's type " + std::to_string(device_type) +
                         "; must be in the memory of the CPU");
  }
  try {
    kept_ = object.attr("__dlpack__")(nb::arg("max_version") = nb::make_tuple(1, 0));
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    kept_ = object.attr("__dlpack__")();  // of before DLPack 1.0
  }
  PyObject* capsule = kept_.ptr();
  if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
    versioned_ = static_cast<dlpack::ManagedTensorVersioned*>(
        PyCapsule_GetPointer(capsule, "dltensor_versioned"));
    PyCapsule_SetName(capsule, "used_dltensor_versioned");
    if (versioned_->version.major != 1) {
      ThrowValue(name, "comes by DLPack " + std::to_string(versioned_->version.major) +
                           ".x; this library knows 1.x");
    }
    ReadDLTensor(name, versioned_->tensor);
    CheckMayWrite(name, written && (versioned_->flags & dlpack::kReadOnly) != 0);
  } else if (PyCapsule_IsValid(capsule, "dltensor")) {
    managed_ = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
    PyCapsule_SetName(capsule, "used_dltensor");
    ReadDLTensor(name, managed_->tensor);
    // It cannot say whether it is read-only, as immutable arrays are.
  } else {
    throw nb::type_error((std::string(name) + ": its __dlpack__ gave a " + TypeName(kept_) +
                          " that is no DLPack capsule")
                             .c_str());
  }
}

}  // namespace ropekv::python
