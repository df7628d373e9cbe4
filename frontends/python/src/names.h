// SPDX-License-Identifier: Apache-2.0
// The dtypes by their names elsewhere, and attribute names that are looked up in every call.
#ifndef ROPEKV_FRONTENDS_PYTHON_NAMES_H_
#define ROPEKV_FRONTENDS_PYTHON_NAMES_H_

#include <nanobind/nanobind.h>

#include "frontends/python/src/dlpack.h"
#include "ropekv/types.h"

namespace ropekv::python {

struct DTypeName {
  DType dtype;
  const char* name;  // NumPy's and torch's
  char kind;         // NumPy's; none for bfloat16, which NumPy does not know itself
  uint8_t code;      // DLPack's
};

// A dtype that is added to the library gets a line here.
inline constexpr DTypeName kDTypeNames[] = {
    {DType::kI8, "int8", 'i', dlpack::kInt},
    {DType::kI32, "int32", 'i', dlpack::kInt},
    {DType::kI64, "int64", 'i', dlpack::kInt},
    {DType::kF16, "float16", 'f', dlpack::kFloat},
    {DType::kBF16, "bfloat16", '\0', dlpack::kBFloat},
    {DType::kF32, "float32", 'f', dlpack::kFloat},
};

// Interned once; a lookup by a C string would make a Python string each time.
struct Interned {
#define ROPEKV_INTERNED(function, text)                               \
  static nanobind::handle function() {                                \
    static PyObject* const string = PyUnicode_InternFromString(text); \
    return string;                                                    \
  }
  ROPEKV_INTERNED(array_struct, "__array_struct__")
  ROPEKV_INTERNED(exchange_api, "__dlpack_c_exchange_api__")
  ROPEKV_INTERNED(requires_grad, "requires_grad")
#undef ROPEKV_INTERNED
};

}  // namespace ropekv::python

#endif  // ROPEKV_FRONTENDS_PYTHON_NAMES_H_
