// SPDX-License-Identifier: Apache-2.0
// Arrays, scalars and lists: what they hold is copied, and a list takes its elements with it.
#include <cstring>

#include "meta.h"

namespace ropekv::acl {
namespace {

template <class Table, class Value>
void* CreateArray(const char* function, const Value* from, uint64_t size) {
  return CreateCall<void>(Layer::kAclnn, function, [&]() -> void* {
    if (!from && size > 0) {
      Fail(kErrParamNullptr, "value is null");
      return nullptr;
    }
    auto array = std::make_shared<typename Table::Pointer::element_type>();
    array->assign(from, from + size);
    return Table::Get().Insert(std::move(array));
  });
}

template <class Table>
int GetSize(const char* function, const void* handle, uint64_t* size) {
  return AclnnCall(function, [&]() -> int {
    typename Table::Pointer array;
    if (const int code = FindDescriptor<Table>(handle, "the array", array)) return code;
    if (!size) return Fail(kErrParamNullptr, "size is null");
    *size = array->size();
    return ACL_SUCCESS;
  });
}

// Elements may be null.
template <class ListTable, class ElementTable, class Element>
void* CreateList(const char* function, const Element* const* elements, uint64_t size) {
  return CreateCall<void>(Layer::kAclnn, function, [&]() -> void* {
    for (uint64_t i = 0; elements && i < size; ++i) {
      if (!elements[i] || ElementTable::Get().Find(elements[i])) continue;
      FailAsGone<ElementTable>("value", elements[i]);
      return nullptr;
    }
    return CreateArray<ListTable>(function, elements, size);
  });
}

template <class ListTable, class ElementTable>
int DestroyList(const char* function, const void* handle) {
  return AclnnCall(function, [&]() -> int {
    if (!handle) return ACL_SUCCESS;
    const typename ListTable::Pointer list = ListTable::Get().Remove(handle);
    if (!list) return FailAsGone<ListTable>("array", handle);
    int code = ACL_SUCCESS;
    for (const auto* element : *list) {
      if (element && !ElementTable::Get().Remove(element)) {
        code = FailAsGone<ElementTable>("an element", element);
      }
    }
    return code;
  });
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclIntArray* aclCreateIntArray(const int64_t* value, uint64_t size) {
  return static_cast<aclIntArray*>(CreateArray<IntArrayTable>(__func__, value, size));
}

aclFloatArray* aclCreateFloatArray(const float* value, uint64_t size) {
  return static_cast<aclFloatArray*>(CreateArray<FloatArrayTable>(__func__, value, size));
}

aclBoolArray* aclCreateBoolArray(const bool* value, uint64_t size) {
  return static_cast<aclBoolArray*>(CreateArray<BoolArrayTable>(__func__, value, size));
}

aclTensorList* aclCreateTensorList(const aclTensor* const* value, uint64_t size) {
  return static_cast<aclTensorList*>(
      CreateList<TensorListTable, TensorTable>(__func__, value, size));
}

aclScalarList* aclCreateScalarList(const aclScalar* const* value, uint64_t size) {
  return static_cast<aclScalarList*>(
      CreateList<ScalarListTable, ScalarTable>(__func__, value, size));
}

aclScalar* aclCreateScalar(void* value, aclDataType dataType) {
  return CreateCall<aclScalar>(Layer::kAclnn, __func__, [&]() -> aclScalar* {
    if (!value) {
      Fail(kErrParamNullptr, "value is null");
      return nullptr;
    }
    auto scalar = std::make_shared<Scalar>();
    scalar->dtype = dataType;
    std::memcpy(scalar->value, value, aclDataTypeSize(dataType));
    return static_cast<aclScalar*>(ScalarTable::Get().Insert(std::move(scalar)));
  });
}

aclnnStatus aclDestroyIntArray(const aclIntArray* array) {
  return DestroyDescriptor<IntArrayTable>(__func__, array);
}

aclnnStatus aclDestroyFloatArray(const aclFloatArray* array) {
  return DestroyDescriptor<FloatArrayTable>(__func__, array);
}

aclnnStatus aclDestroyBoolArray(const aclBoolArray* array) {
  return DestroyDescriptor<BoolArrayTable>(__func__, array);
}

aclnnStatus aclDestroyScalar(const aclScalar* scalar) {
  return DestroyDescriptor<ScalarTable>(__func__, scalar);
}

aclnnStatus aclDestroyTensorList(const aclTensorList* array) {
  return DestroyList<TensorListTable, TensorTable>(__func__, array);
}

aclnnStatus aclDestroyScalarList(const aclScalarList* array) {
  return DestroyList<ScalarListTable, ScalarTable>(__func__, array);
}

aclnnStatus aclGetIntArraySize(const aclIntArray* array, uint64_t* size) {
  return GetSize<IntArrayTable>(__func__, array, size);
}

aclnnStatus aclGetFloatArraySize(const aclFloatArray* array, uint64_t* size) {
  return GetSize<FloatArrayTable>(__func__, array, size);
}

aclnnStatus aclGetBoolArraySize(const aclBoolArray* array, uint64_t* size) {
  return GetSize<BoolArrayTable>(__func__, array, size);
}

aclnnStatus aclGetTensorListSize(const aclTensorList* tensorList, uint64_t* size) {
  return GetSize<TensorListTable>(__func__, tensorList, size);
}

aclnnStatus aclGetScalarListSize(const aclScalarList* scalarList, uint64_t* size) {
  return GetSize<ScalarListTable>(__func__, scalarList, size);
}
