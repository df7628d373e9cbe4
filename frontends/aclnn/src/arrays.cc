// SPDX-License-Identifier: Apache-2.0
// Arrays, scalars and lists: what they hold is copied, and a list takes its elements with it.
#include <cstring>

#include "error.h"
#include "meta.h"

namespace ropekv::acl {
namespace {

template <class Array, class Values, class Value>
Array* CreateArray(const char* function, Values Array::*values, const Value* from, uint64_t size) {
  return CreateCall<Array>(Layer::kAclnn, function, [&]() -> Array* {
    if (!from && size > 0) {
      Fail(kErrParamNullptr, "value is null");
      return nullptr;
    }
    auto array = std::make_unique<Array>();
    (array.get()->*values).assign(from, from + size);
    return array.release();
  });
}

template <class Array, class Values>
int GetSize(const char* function, const Array* array, Values Array::*values, uint64_t* size) {
  return AclnnCall(function, [&]() -> int {
    if (!array || !size) return Fail(kErrParamNullptr, "%s is null", array ? "size" : "the array");
    *size = (array->*values).size();
    return ACL_SUCCESS;
  });
}

template <class List>
int DestroyList(const List* list) {
  if (list) {
    for (const auto* element : list->elements) delete element;
  }
  delete list;
  return ACL_SUCCESS;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclIntArray* aclCreateIntArray(const int64_t* value, uint64_t size) {
  return CreateArray(__func__, &aclIntArray::values, value, size);
}

aclFloatArray* aclCreateFloatArray(const float* value, uint64_t size) {
  return CreateArray(__func__, &aclFloatArray::values, value, size);
}

aclBoolArray* aclCreateBoolArray(const bool* value, uint64_t size) {
  return CreateArray(__func__, &aclBoolArray::values, value, size);
}

aclTensorList* aclCreateTensorList(const aclTensor* const* value, uint64_t size) {
  return CreateArray(__func__, &aclTensorList::elements, value, size);
}

aclScalarList* aclCreateScalarList(const aclScalar* const* value, uint64_t size) {
  return CreateArray(__func__, &aclScalarList::elements, value, size);
}

aclScalar* aclCreateScalar(void* value, aclDataType dataType) {
  return CreateCall<aclScalar>(Layer::kAclnn, __func__, [&]() -> aclScalar* {
    if (!value) {
      Fail(kErrParamNullptr, "value is null");
      return nullptr;
    }
    auto scalar = std::make_unique<aclScalar>();
    scalar->dtype = dataType;
    std::memcpy(scalar->value, value, aclDataTypeSize(dataType));
    return scalar.release();
  });
}

aclnnStatus aclDestroyIntArray(const aclIntArray* array) {
  delete array;
  return ACL_SUCCESS;
}

aclnnStatus aclDestroyFloatArray(const aclFloatArray* array) {
  delete array;
  return ACL_SUCCESS;
}

aclnnStatus aclDestroyBoolArray(const aclBoolArray* array) {
  delete array;
  return ACL_SUCCESS;
}

aclnnStatus aclDestroyScalar(const aclScalar* scalar) {
  delete scalar;
  return ACL_SUCCESS;
}

aclnnStatus aclDestroyTensorList(const aclTensorList* array) { return DestroyList(array); }

aclnnStatus aclDestroyScalarList(const aclScalarList* array) { return DestroyList(array); }

aclnnStatus aclGetIntArraySize(const aclIntArray* array, uint64_t* size) {
  return GetSize(__func__, array, &aclIntArray::values, size);
}

aclnnStatus aclGetFloatArraySize(const aclFloatArray* array, uint64_t* size) {
  return GetSize(__func__, array, &aclFloatArray::values, size);
}

aclnnStatus aclGetBoolArraySize(const aclBoolArray* array, uint64_t* size) {
  return GetSize(__func__, array, &aclBoolArray::values, size);
}

aclnnStatus aclGetTensorListSize(const aclTensorList* tensorList, uint64_t* size) {
  return GetSize(__func__, tensorList, &aclTensorList::elements, size);
}

aclnnStatus aclGetScalarListSize(const aclScalarList* scalarList, uint64_t* size) {
  return GetSize(__func__, scalarList, &aclScalarList::elements, size);
}
