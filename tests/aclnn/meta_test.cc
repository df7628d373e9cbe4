// SPDX-License-Identifier: Apache-2.0
// Descriptors: what they remember, what they copy, what the getters hand out.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aclnn/aclnn_base.h"
#include "aclnn/fixture.h"

namespace ropekv::testing {
namespace {

// The array a getter allocated, released as the interface says.
template <class Getter>
std::vector<int64_t> Get(Getter getter, const aclTensor* tensor) {
  int64_t* values = nullptr;
  uint64_t size = 99;
  EXPECT_EQ(getter(tensor, &values, &size), 0);
  std::vector<int64_t> copy(values, values + size);
  delete[] values;
  return copy;
}

using Ints = std::vector<int64_t>;

TEST(Meta, TensorRemembersWhatItIsGiven) {
  int64_t dims[] = {2, 3, 4}, storage[] = {100};
  int data = 0;
  aclTensor* tensor =
      aclCreateTensor(dims, 3, ACL_BF16, nullptr, 7, ACL_FORMAT_NCL, storage, 1, &data);
  ASSERT_NE(tensor, nullptr);
  dims[0] = storage[0] = -1;  // copied
  EXPECT_EQ(Get(aclGetViewShape, tensor), (Ints{2, 3, 4}));
  EXPECT_EQ(Get(aclGetViewStrides, tensor), (Ints{12, 4, 1}));
  EXPECT_EQ(Get(aclGetStorageShape, tensor), (Ints{100}));
  int64_t offset = 0;
  aclFormat format = ACL_FORMAT_UNDEFINED;
  aclDataType dtype = ACL_DT_UNDEFINED;
  void* address = nullptr;
  EXPECT_EQ(aclGetViewOffset(tensor, &offset), 0);
  EXPECT_EQ(aclGetFormat(tensor, &format), 0);
  EXPECT_EQ(aclGetDataType(tensor, &dtype), 0);
  EXPECT_EQ(aclGetRawTensorAddr(tensor, &address), 0);
  EXPECT_EQ(offset, 7);
  EXPECT_EQ(format, ACL_FORMAT_NCL);
  EXPECT_EQ(dtype, ACL_BF16);
  EXPECT_EQ(address, &data);
  EXPECT_EQ(aclSetRawTensorAddr(tensor, &offset), 0);
  EXPECT_EQ(aclGetRawTensorAddr(tensor, &address), 0);
  EXPECT_EQ(address, &offset);

  const int64_t other[] = {5}, stride[] = {3};
  EXPECT_EQ(
      aclInitTensor(tensor, other, 1, ACL_INT8, stride, 0, ACL_FORMAT_ND, nullptr, 0, nullptr), 0);
  EXPECT_EQ(Get(aclGetViewShape, tensor), (Ints{5}));
  EXPECT_EQ(Get(aclGetViewStrides, tensor), (Ints{3}));
  EXPECT_EQ(Get(aclGetStorageShape, tensor), Ints{});
  EXPECT_EQ(aclGetRawTensorAddr(tensor, &address), 0);
  EXPECT_EQ(address, &offset) << "kept when none is given";
  EXPECT_EQ(aclDestroyTensor(tensor), 0);
}

TEST(Meta, TensorBadArguments) {
  const int64_t dims[] = {1};
  const auto create = [&](const int64_t* view, uint64_t rank, const int64_t* storage, uint64_t n) {
    return aclCreateTensor(view, rank, ACL_FLOAT, nullptr, 0, ACL_FORMAT_ND, storage, n, nullptr);
  };
  TakeMessage();
  EXPECT_EQ(create(nullptr, 1, dims, 1), nullptr);
  EXPECT_NE(TakeMessage().find("viewDims"), std::string::npos);
  EXPECT_EQ(create(dims, 1, nullptr, 1), nullptr);
  EXPECT_NE(TakeMessage().find("storageDims"), std::string::npos);
  EXPECT_EQ(create(nullptr, 0, nullptr, 1), nullptr);
  EXPECT_NE(TakeMessage().find("storageDims"), std::string::npos);
  EXPECT_EQ(create(dims, UINT64_MAX, dims, 1), nullptr);
  EXPECT_NE(TakeMessage(), "");
  aclTensor* scalar = create(nullptr, 0, nullptr, 0);
  ASSERT_NE(scalar, nullptr);

  int64_t* values = nullptr;
  uint64_t size = 0;
  for (const auto getter : {aclGetViewShape, aclGetStorageShape, aclGetViewStrides}) {
    ExpectFailure(getter(nullptr, &values, &size), 161001);
    ExpectFailure(getter(scalar, nullptr, &size), 161001);
    ExpectFailure(getter(scalar, &values, nullptr), 161001);
    EXPECT_EQ(Get(getter, scalar), Ints{});
  }
  int64_t offset;
  aclFormat format;
  aclDataType dtype;
  void* address;
  ExpectFailure(aclGetViewOffset(nullptr, &offset), 161001);
  ExpectFailure(aclGetViewOffset(scalar, nullptr), 161001);
  ExpectFailure(aclGetFormat(nullptr, &format), 161001);
  ExpectFailure(aclGetFormat(scalar, nullptr), 161001);
  ExpectFailure(aclGetDataType(nullptr, &dtype), 161001);
  ExpectFailure(aclGetDataType(scalar, nullptr), 161001);
  ExpectFailure(aclGetRawTensorAddr(nullptr, &address), 161001);
  ExpectFailure(aclGetRawTensorAddr(scalar, nullptr), 161001);
  ExpectFailure(aclSetRawTensorAddr(nullptr, &offset), 161001);
  ExpectFailure(aclSetRawTensorAddr(scalar, nullptr), 161001);
  ExpectFailure(
      aclInitTensor(nullptr, dims, 1, ACL_FLOAT, nullptr, 0, ACL_FORMAT_ND, dims, 1, nullptr),
      161001);
  ExpectFailure(
      aclInitTensor(scalar, nullptr, 1, ACL_FLOAT, nullptr, 0, ACL_FORMAT_ND, dims, 1, nullptr),
      161001);
  EXPECT_EQ(aclDestroyTensor(scalar), 0);
}

TEST(Meta, ArraysScalarsAndLists) {
  const int64_t ints[] = {1, 2, 3};
  const float floats[] = {1, 2};
  const bool bools[] = {true};
  uint64_t size = 0;
  aclIntArray* int_array = aclCreateIntArray(ints, 3);
  aclFloatArray* float_array = aclCreateFloatArray(floats, 2);
  aclBoolArray* bool_array = aclCreateBoolArray(bools, 1);
  EXPECT_EQ(aclGetIntArraySize(int_array, &size), 0);
  EXPECT_EQ(size, 3u);
  ExpectFailure(aclGetIntArraySize(int_array, nullptr), 161001, "size");
  EXPECT_EQ(aclGetFloatArraySize(float_array, &size), 0);
  EXPECT_EQ(size, 2u);
  ExpectFailure(aclGetFloatArraySize(float_array, nullptr), 161001, "size");
  EXPECT_EQ(aclGetBoolArraySize(bool_array, &size), 0);
  EXPECT_EQ(size, 1u);
  ExpectFailure(aclGetBoolArraySize(bool_array, nullptr), 161001, "size");
  EXPECT_EQ(aclDestroyIntArray(int_array), 0);
  EXPECT_EQ(aclDestroyFloatArray(float_array), 0);
  EXPECT_EQ(aclDestroyBoolArray(bool_array), 0);

  // Lists take their elements with them.
  const aclTensor* tensors[2];
  for (auto& tensor : tensors) {
    tensor = aclCreateTensor(ints, 3, ACL_INT8, nullptr, 0, ACL_FORMAT_ND, ints, 3, nullptr);
  }
  aclTensorList* tensor_list = aclCreateTensorList(tensors, 2);
  EXPECT_EQ(aclGetTensorListSize(tensor_list, &size), 0);
  EXPECT_EQ(size, 2u);
  ExpectFailure(aclGetTensorListSize(tensor_list, nullptr), 161001, "size");
  EXPECT_EQ(aclDestroyTensorList(tensor_list), 0);
  double value = 2.5;
  const aclScalar* scalars[] = {aclCreateScalar(&value, ACL_DOUBLE)};
  ASSERT_NE(scalars[0], nullptr);
  aclScalarList* scalar_list = aclCreateScalarList(scalars, 1);
  EXPECT_EQ(aclGetScalarListSize(scalar_list, &size), 0);
  EXPECT_EQ(size, 1u);
  ExpectFailure(aclGetScalarListSize(scalar_list, nullptr), 161001, "size");
  EXPECT_EQ(aclDestroyScalarList(scalar_list), 0);
  EXPECT_EQ(aclDestroyScalar(aclCreateScalar(&value, ACL_DOUBLE)), 0);
}

TEST(Meta, ArraysBadArguments) {
  TakeMessage();
  uint64_t size = 0;
  const auto expect_null = [](const void* made, const char* function) {
    EXPECT_EQ(made, nullptr);
    EXPECT_EQ(TakeMessage(), std::string("161001 ") + function + ": value is null");
  };
  expect_null(aclCreateIntArray(nullptr, 1), "aclCreateIntArray");
  expect_null(aclCreateFloatArray(nullptr, 1), "aclCreateFloatArray");
  expect_null(aclCreateBoolArray(nullptr, 1), "aclCreateBoolArray");
  expect_null(aclCreateTensorList(nullptr, 1), "aclCreateTensorList");
  expect_null(aclCreateScalarList(nullptr, 1), "aclCreateScalarList");
  expect_null(aclCreateScalar(nullptr, ACL_FLOAT), "aclCreateScalar");
  ExpectFailure(aclGetIntArraySize(nullptr, &size), 161001);
  ExpectFailure(aclGetFloatArraySize(nullptr, &size), 161001);
  ExpectFailure(aclGetBoolArraySize(nullptr, &size), 161001);
  ExpectFailure(aclGetTensorListSize(nullptr, &size), 161001);
  ExpectFailure(aclGetScalarListSize(nullptr, &size), 161001);
  aclIntArray* empty = aclCreateIntArray(nullptr, 0);
  ASSERT_NE(empty, nullptr);
  EXPECT_EQ(aclGetIntArraySize(empty, &size), 0);
  EXPECT_EQ(size, 0u);
  EXPECT_EQ(aclDestroyIntArray(empty), 0);
  for (const aclnnStatus code :
       {aclDestroyTensor(nullptr), aclDestroyIntArray(nullptr), aclDestroyFloatArray(nullptr),
        aclDestroyBoolArray(nullptr), aclDestroyScalar(nullptr), aclDestroyTensorList(nullptr),
        aclDestroyScalarList(nullptr)}) {
    EXPECT_EQ(code, 0);
  }
}

TEST(Meta, ElementSizes) {
  const std::pair<aclDataType, size_t> kSizes[] = {
      {ACL_BOOL, 1},        {ACL_INT8, 1},          {ACL_UINT8, 1},
      {ACL_INT4, 1},        {ACL_UINT1, 1},         {ACL_HIFLOAT8, 1},
      {ACL_FLOAT8_E5M2, 1}, {ACL_FLOAT8_E4M3FN, 1}, {ACL_FLOAT8_E8M0, 1},
      {ACL_FLOAT16, 2},     {ACL_BF16, 2},          {ACL_INT16, 2},
      {ACL_UINT16, 2},      {ACL_FLOAT, 4},         {ACL_INT32, 4},
      {ACL_UINT32, 4},      {ACL_COMPLEX32, 4},     {ACL_INT64, 8},
      {ACL_UINT64, 8},      {ACL_DOUBLE, 8},        {ACL_COMPLEX64, 8},
      {ACL_FLOAT6_E3M2, 8}, {ACL_FLOAT4_E2M1, 8},   {ACL_COMPLEX128, 16},
      {ACL_STRING, 0},      {ACL_DT_UNDEFINED, 0},  {static_cast<aclDataType>(50), 8}};
  for (const auto& [dtype, size] : kSizes) EXPECT_EQ(aclDataTypeSize(dtype), size) << dtype;
}

TEST(Meta, HalfConversions) {
  // Every half but those with exponent 31 goes there and back.
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<aclFloat16>(bits);
    if ((bits & 0x7C00) == 0x7C00) continue;
    EXPECT_EQ(aclFloatToFloat16(aclFloat16ToFloat(half)), half) << bits;
  }
  EXPECT_EQ(aclFloat16ToFloat(0x7C00), 65536.0f);
  EXPECT_EQ(aclFloat16ToFloat(0xFC00), -65536.0f);
  EXPECT_EQ(aclFloat16ToFloat(0x7E00), 98304.0f);
  EXPECT_EQ(aclFloat16ToFloat(0x3C01), 1.0009765625f);
  EXPECT_EQ(aclFloat16ToFloat(0x0001), 0x1p-24f);
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(aclFloatToFloat16(inf), 0x7BFF);
  EXPECT_EQ(aclFloatToFloat16(-inf), 0xFBFF);
  EXPECT_EQ(aclFloatToFloat16(1e6f), 0x7BFF);
  EXPECT_EQ(aclFloatToFloat16(65519.0f), 0x7BFF);
  EXPECT_EQ(aclFloatToFloat16(65520.0f), 0x7BFF);
  EXPECT_EQ(aclFloatToFloat16(std::nanf("")) & 0x7FFF, 0x7BFF);
  // Ties to even, in the normal and the subnormal range.
  EXPECT_EQ(aclFloatToFloat16(1.00048828125f), 0x3C00);
  EXPECT_EQ(aclFloatToFloat16(1.00146484375f), 0x3C02);
  EXPECT_EQ(aclFloatToFloat16(0x1p-25f), 0x0000);
  EXPECT_EQ(aclFloatToFloat16(0x1.8p-24f), 0x0002);
  EXPECT_EQ(aclFloatToFloat16(0x1.000002p-25f), 0x0001);
  EXPECT_EQ(aclFloatToFloat16(-1e-30f), 0x8000);
}

TEST(Meta, InitAndFinalise) {
  EXPECT_EQ(aclnnInit(nullptr), 0);
  EXPECT_EQ(aclnnInit(""), 0);
  ExpectFailure(aclnnInit("/does/not/exist"), 161002);
  EXPECT_EQ(aclnnFinalize(), 0);
}

}  // namespace
}  // namespace ropekv::testing
