// SPDX-License-Identifier: Apache-2.0
// Descriptors after their destruction, those of another kind and addresses that are none: each use
// is an error, and so is a second destruction.
#include <string>
#include <vector>

#include "aclnn/changed_call.h"
#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

using enum TensorId;

const int64_t kInts[] = {1, 2, 3};

aclTensor* NewTensor() {
  return aclCreateTensor(kInts, 3, ACL_INT8, nullptr, 0, ACL_FORMAT_ND, kInts, 3, nullptr);
}

void ExpectEveryUseFails(aclTensor* tensor) {
  SCOPED_TRACE(static_cast<void*>(tensor));
  const std::string text = "is not an aclTensor, or has been destroyed";
  int64_t* values = nullptr;
  uint64_t size = 0;
  for (const auto getter : {aclGetViewShape, aclGetStorageShape, aclGetViewStrides}) {
    ExpectFailure(getter(tensor, &values, &size), 161002, text);
  }
  int64_t offset;
  aclFormat format;
  aclDataType dtype;
  void* address;
  ExpectFailure(aclGetViewOffset(tensor, &offset), 161002, text);
  ExpectFailure(aclGetFormat(tensor, &format), 161002, text);
  ExpectFailure(aclGetDataType(tensor, &dtype), 161002, text);
  ExpectFailure(aclGetRawTensorAddr(tensor, &address), 161002, text);
  ExpectFailure(aclSetRawTensorAddr(tensor, &address), 161002, text);
  ExpectFailure(
      aclInitTensor(tensor, kInts, 1, ACL_INT8, nullptr, 0, ACL_FORMAT_ND, kInts, 1, nullptr),
      161002, text);
  const aclTensor* elements[] = {tensor};
  EXPECT_EQ(aclCreateTensorList(elements, 1), nullptr);
  EXPECT_NE(TakeMessage().find(text), std::string::npos);
  ExpectFailure(aclDestroyTensor(tensor), 161002, text);
}

TEST(Stale, Tensor) {
  aclTensor* const tensor = NewTensor();
  EXPECT_EQ(aclDestroyTensor(tensor), 0);
  TakeMessage();
  ExpectEveryUseFails(tensor);
  // What comes after it has another name.
  aclTensor* const next = NewTensor();
  ExpectEveryUseFails(tensor);
  EXPECT_EQ(aclDestroyTensor(next), 0);
}

TEST(Stale, NeverATensor) {
  TakeMessage();
  int64_t number = 1;
  ExpectEveryUseFails(reinterpret_cast<aclTensor*>(&number));
  ExpectEveryUseFails(reinterpret_cast<aclTensor*>(uintptr_t{1}));
  aclIntArray* array = aclCreateIntArray(kInts, 3);
  ExpectEveryUseFails(reinterpret_cast<aclTensor*>(array));
  EXPECT_EQ(aclDestroyIntArray(array), 0);
}

template <class Array>
void ExpectStale(Array* array, aclnnStatus (*destroy)(const Array*),
                 aclnnStatus (*get_size)(const Array*, uint64_t*), const std::string& kind) {
  ASSERT_NE(array, nullptr);
  EXPECT_EQ(destroy(array), 0);
  TakeMessage();
  uint64_t size = 77;
  ExpectFailure(get_size(array, &size), 161002, kind);
  EXPECT_EQ(size, 77u);
  ExpectFailure(destroy(array), 161002, kind);
}

TEST(Stale, ArraysAndLists) {
  const float floats[] = {1};
  const bool bools[] = {true};
  ExpectStale(aclCreateIntArray(kInts, 3), aclDestroyIntArray, aclGetIntArraySize, "aclIntArray");
  ExpectStale(aclCreateFloatArray(floats, 1), aclDestroyFloatArray, aclGetFloatArraySize,
              "aclFloatArray");
  ExpectStale(aclCreateBoolArray(bools, 1), aclDestroyBoolArray, aclGetBoolArraySize,
              "aclBoolArray");
  ExpectStale(aclCreateTensorList(nullptr, 0), aclDestroyTensorList, aclGetTensorListSize,
              "aclTensorList");
  ExpectStale(aclCreateScalarList(nullptr, 0), aclDestroyScalarList, aclGetScalarListSize,
              "aclScalarList");
}

TEST(Stale, Scalar) {
  double value = 2.5;
  aclScalar* const scalar = aclCreateScalar(&value, ACL_DOUBLE);
  EXPECT_EQ(aclDestroyScalar(scalar), 0);
  TakeMessage();
  const aclScalar* elements[] = {scalar};
  EXPECT_EQ(aclCreateScalarList(elements, 1), nullptr);
  EXPECT_NE(TakeMessage().find("aclScalar"), std::string::npos);
  ExpectFailure(aclDestroyScalar(scalar), 161002, "aclScalar");
}

// A list takes its elements with it. One that had gone before is an error, and the rest goes.
TEST(Stale, ElementsOfLists) {
  aclTensor* const tensors[] = {NewTensor(), NewTensor(), NewTensor()};
  aclTensorList* list = aclCreateTensorList(tensors, 2);
  EXPECT_EQ(aclDestroyTensorList(list), 0);
  TakeMessage();
  ExpectEveryUseFails(tensors[0]);
  ExpectEveryUseFails(tensors[1]);
  const aclTensor* with_null[] = {nullptr, NewTensor(), tensors[2]};
  list = aclCreateTensorList(with_null, 3);
  EXPECT_EQ(aclDestroyTensor(with_null[1]), 0);
  ExpectFailure(aclDestroyTensorList(list), 161002, "element");
  ExpectFailure(aclDestroyTensor(tensors[2]), 161002);

  float value = 1;
  const aclScalar* scalar = aclCreateScalar(&value, ACL_FLOAT);
  EXPECT_EQ(aclDestroyScalarList(aclCreateScalarList(&scalar, 1)), 0);
  ExpectFailure(aclDestroyScalar(scalar), 161002);
}

TEST(Stale, DataBuffer) {
  const std::string text = "is not an aclDataBuffer, or has been destroyed";
  int data = 0;
  aclDataBuffer* const buffer = aclCreateDataBuffer(&data, 12);
  EXPECT_EQ(aclDestroyDataBuffer(buffer), 0);
  TakeMessage();
  ExpectFailure(aclUpdateDataBuffer(buffer, &data, 1), 107017, text);
  ExpectFailure(aclDestroyDataBuffer(buffer), 107017, text);
  EXPECT_EQ(aclGetDataBufferAddr(buffer), nullptr);
  EXPECT_NE(TakeMessage().find(text), std::string::npos);
  EXPECT_EQ(aclGetDataBufferSize(buffer), 0u);
  EXPECT_NE(TakeMessage().find(text), std::string::npos);
  EXPECT_EQ(aclGetDataBufferSizeV2(buffer), 0u);
  EXPECT_NE(TakeMessage().find(text), std::string::npos);
}

TEST(Stale, EachParameterOfPhaseOne) {
  for (const TensorField& field : kOperatorFields) {
    Fixture fixture;
    ASSERT_EQ(aclDestroyTensor(fixture.call.tensor(field.id)), 0);
    ExpectFailure(fixture.call.Prepare(), 161002, "is not an aclTensor, or has been destroyed");
    EXPECT_EQ(fixture.call.executor, nullptr) << field.name;
    EXPECT_EQ(fixture.problem.CompareUntouched(), "");
  }
  Fixture fixture;
  ASSERT_EQ(aclDestroyIntArray(fixture.call.size_splits.get()), 0);
  ExpectFailure(fixture.call.Prepare(), 161002, "sizeSplits");
}

TEST(Stale, Refresh) {
  Fixture fixture;
  ASSERT_EQ(fixture.call.Prepare(), 0);
  aclTensor* const tensor = NewTensor();
  const aclTensor* elements[] = {tensor};
  aclTensorList* const list = aclCreateTensorList(elements, 1);
  aclTensorList* const empty = aclCreateTensorList(nullptr, 0);
  int64_t data = 0;
  for (aclOpExecutor* const executor :
       {fixture.call.executor, static_cast<aclOpExecutor*>(nullptr)}) {
    ExpectFailure(aclSetDynamicTensorAddr(executor, 0, 0, empty, &data), 161002, "list of 0");
  }
  EXPECT_EQ(aclDestroyTensorList(empty), 0);
  EXPECT_EQ(aclDestroyTensor(tensor), 0);
  aclOpExecutor* const executor = fixture.call.executor;
  ExpectFailure(aclSetTensorAddr(executor, 0, tensor, &data), 161002, "aclTensor");
  ExpectFailure(aclSetDynamicTensorAddr(executor, 0, 0, list, &data), 161002, "aclTensor");
  ExpectFailure(aclDestroyTensorList(list), 161002);
  ExpectFailure(aclSetDynamicTensorAddr(executor, 0, 0, list, &data), 161002, "aclTensorList");
}

}  // namespace
}  // namespace ropekv::testing
