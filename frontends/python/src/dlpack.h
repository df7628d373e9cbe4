// SPDX-License-Identifier: Apache-2.0
// The binary interface of DLPack 1.3, as far as it is used here: tensors in memory, and the table
// of functions by which a framework hands them over without a Python call.
#ifndef ROPEKV_FRONTENDS_PYTHON_DLPACK_H_
#define ROPEKV_FRONTENDS_PYTHON_DLPACK_H_

#include <cstdint>

namespace ropekv::python::dlpack {

inline constexpr int32_t kCpu = 1;
inline constexpr uint64_t kReadOnly = 1;  // in ManagedTensorVersioned::flags

enum TypeCode : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kBool = 6 };

struct Version {
  uint32_t major;
  uint32_t minor;
};

struct Device {
  int32_t type;
  int32_t id;
};

struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  int32_t rank;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: row-major
  uint64_t byte_offset;
};

// What a capsule named "dltensor" holds.
struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

// What a capsule named "dltensor_versioned" holds.
struct ManagedTensorVersioned {
  Version version;
  void* context;
  void (*deleter)(ManagedTensorVersioned*);
  uint64_t flags;
  Tensor tensor;
};

// What the capsule `__dlpack_c_exchange_api__` of a type holds. The functions return 0, or -1 with
// a Python exception set.
struct ExchangeApi {
  Version version;
  ExchangeApi* previous;
  int (*allocate)(Tensor* prototype, ManagedTensorVersioned** out, void* error_context,
                  void (*set_error)(void* error_context, const char* kind, const char* message));
  int (*owned_from_object)(void* object, ManagedTensorVersioned** out);
  int (*object_from_owned)(ManagedTensorVersioned* tensor, void** out);  // takes `tensor` over
  int (*borrow_from_object)(void* object, Tensor* out);                  // may be null
  int (*current_stream)(int32_t device_type, int32_t device_id, void** out);
};

}  // namespace ropekv::python::dlpack

#endif  // ROPEKV_FRONTENDS_PYTHON_DLPACK_H_
