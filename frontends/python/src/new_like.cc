// SPDX-License-Identifier: Apache-2.0
// Makes the outputs that a caller did not give.
#include <string>

#include "frontends/python/src/names.h"
#include "frontends/python/src/operand.h"

namespace ropekv::python {
namespace {

const DTypeName& NameOf(DType dtype) {
  const DTypeName* found = kDTypeNames;
  while (found->dtype != dtype) ++found;
  return *found;
}

void KeepMessage(void* message, const char*, const char* text) {
  *static_cast<std::string*>(message) = text;
}

nb::object NewByTable(const dlpack::ExchangeApi& api, const TensorSpec& spec) {
  auto shape = spec.shape;
  dlpack::Tensor wanted{};
  wanted.device.type = dlpack::kCpu;
  wanted.rank = spec.rank;
  wanted.dtype = {NameOf(spec.dtype).code, static_cast<uint8_t>(8 * ElementBytes(spec.dtype)), 1};
  wanted.shape = shape.data();
  dlpack::ManagedTensorVersioned* owned = nullptr;
  std::string message;
  if (api.allocate(&wanted, &owned, &message, KeepMessage) != 0) {
    PyErr_SetString(PyExc_MemoryError, message.c_str());
    nb::raise_python_error();
  }
  void* object = nullptr;
  if (api.object_from_owned(owned, &object) != 0) nb::raise_python_error();
  return nb::steal(static_cast<PyObject*>(object));
}

// NumPy's dtype; ml_dtypes' where NumPy has none.
nb::object NumPyDType(DType dtype) {
  if (dtype != DType::kBF16) return nb::module_::import_("numpy").attr("dtype")(NameOf(dtype).name);
  try {
    const nb::object bfloat16 = nb::module_::import_("ml_dtypes").attr("bfloat16");
    return nb::module_::import_("numpy").attr("dtype")(bfloat16);
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_ImportError)) throw;
    nb::raise_from(error, PyExc_ImportError,
                   "NumPy arrays of bfloat16 need ml_dtypes: pip install 'ropekv[bf16]'");
  }
}

nb::object NewNumPy(const TensorSpec& spec) {
  // For as long as the process: a module that is unloaded with the interpreter must not drop them.
  static const nb::handle empty = nb::object(nb::module_::import_("numpy").attr("empty")).release();
  static nb::handle dtypes[std::size(kDTypeNames)];
  nb::handle& dtype = dtypes[&NameOf(spec.dtype) - kDTypeNames];
  if (!dtype.is_valid()) dtype = NumPyDType(spec.dtype).release();
  const nb::object shape = nb::steal(PyTuple_New(spec.rank));
  for (int i = 0; i < spec.rank; ++i) {
    PyTuple_SetItem(shape.ptr(), i, PyLong_FromLongLong(spec.shape[i]));
  }
  return empty(shape, dtype);
}

}  // namespace

nb::object NewLike(nb::handle model, const TensorSpec& spec) {
  if (const dlpack::ExchangeApi* api = FindExchangeApi(model)) return NewByTable(*api, spec);
  nb::object array = NewNumPy(spec);
  if (nb::hasattr(model, Interned::array_struct())) return array;
  // An array of another library, if that can take one over.
  if (!nb::hasattr(model, "__array_namespace__")) return array;
  return model.attr("__array_namespace__")().attr("from_dlpack")(array);
}

}  // namespace ropekv::python
