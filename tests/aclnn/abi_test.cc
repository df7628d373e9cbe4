// SPDX-License-Identifier: Apache-2.0
// Sizes, values and exported names against the facts of the interface.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>
#include <type_traits>

#include "acl/acl.h"
#include "aclnn/aclnn_base.h"
#include "aclnnop/aclnn_dequant_rope_quant_kvcache.h"

namespace {

#define ENUM(type, name, value)                                                    \
  static_assert((name) == (value) && std::is_same_v<decltype(name), type>, #name); \
  static_assert(sizeof(type) == 4, #type);
#define VALUE(name, value) static_assert((name) == (value), #name);
#include "aclnn/abi_enums.inc"
#include "aclnn/abi_values.inc"
#undef ENUM
#undef VALUE

static_assert(ACL_MINOR_VERSION == 15 || ACL_MINOR_VERSION == 17);
static_assert(ACL_UNKNOWN_RANK == 0xFFFFFFFFFFFFFFFE);
static_assert(std::is_same_v<aclError, int>);
static_assert(std::is_same_v<aclnnStatus, int32_t>);
static_assert(std::is_same_v<aclFloat16, uint16_t>);
static_assert(std::is_same_v<aclrtStream, void*>);
static_assert(std::is_same_v<aclrtEvent, void*>);
static_assert(std::is_same_v<aclrtContext, void*>);
static_assert(sizeof(aclrtMallocAttrValue) == 8 && sizeof(aclrtMallocAttribute) == 12);
static_assert(sizeof(aclrtMallocConfig) == 16 && sizeof(aclrtMemLocation) == 8);
static_assert(sizeof(aclrtPtrAttributes) == 28 && offsetof(aclrtPtrAttributes, pageSize) == 8);
static_assert(offsetof(aclrtMemLocation, type) == 4 && offsetof(aclrtMallocAttribute, value) == 4);
// Constants can label cases.
constexpr bool IsLabel(int code) {
  switch (code) {
    case ACL_SUCCESS:
    case ACL_ERROR_INVALID_PARAM: return true;
    default: return false;
  }
}
static_assert(IsLabel(100000));

std::set<std::string> ReadExports() {
  std::ifstream file(ROPEKV_EXPORTS);
  std::set<std::string> names;
  for (std::string name; std::getline(file, name);) names.insert(name);
  return names;
}

// As PyTorch adapters do: one library, everything by name.
TEST(Abi, EveryFunctionIsFoundThroughEachLibraryAlone) {
  const std::set<std::string> names = ReadExports();
  EXPECT_EQ(names.size(), 141u);
  for (const char* library : {"libopapi.so", "libascendcl.so", "libacl_rt.so", "libnnopbase.so",
                              "libopapi_transformer.so"}) {
    void* handle = dlopen((std::string(ROPEKV_LIB64) + "/" + library).c_str(), RTLD_NOW);
    ASSERT_NE(handle, nullptr) << dlerror();
    for (const std::string& name : names) {
      EXPECT_NE(dlsym(handle, name.c_str()), nullptr) << library << ": " << name;
    }
    EXPECT_EQ(dlclose(handle), 0);
  }
}

// However a function is reached, it works on the same streams and messages.
TEST(Abi, LibrariesShareOneState) {
  ASSERT_EQ(aclrtSetDevice(0), ACL_SUCCESS);
  void* handle = dlopen((std::string(ROPEKV_LIB64) + "/libopapi.so").c_str(), RTLD_NOW);
  ASSERT_NE(handle, nullptr);
  const auto create =
      reinterpret_cast<aclError (*)(aclrtStream*)>(dlsym(handle, "aclrtCreateStream"));
  aclrtStream stream = nullptr;
  ASSERT_EQ(create(&stream), ACL_SUCCESS);
  EXPECT_EQ(aclrtSynchronizeStream(stream), ACL_SUCCESS);
  EXPECT_EQ(aclrtDestroyStream(stream), ACL_SUCCESS);
  EXPECT_NE(create(nullptr), ACL_SUCCESS);
  EXPECT_NE(aclGetRecentErrMsg(), nullptr);
  EXPECT_EQ(dlclose(handle), 0);
}

}  // namespace
