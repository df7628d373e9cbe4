// SPDX-License-Identifier: Apache-2.0
// The functions that the libraries export, by name.
#ifndef ROPEKV_TESTS_ACLNN_EVERY_FUNCTION_H_
#define ROPEKV_TESTS_ACLNN_EVERY_FUNCTION_H_

#include <dlfcn.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace ropekv::testing {

inline std::vector<std::string> ExportedNames() {
  std::vector<std::string> names;
  std::ifstream file(ROPEKV_EXPORTS);
  for (std::string name; std::getline(file, name);) names.push_back(name);
  return names;
}

// No function has more than 23 parameters, and all take zeros for an answer. False if there is none
// of this name.
#if defined(__clang__)
[[clang::no_sanitize("function")]]
#endif
inline bool
CallWithZeros(const std::string& name) {
  using Z = uintptr_t;
  using Function = void (*)(Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z);
  const auto function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name.c_str()));
  if (!function) return false;
  function(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return true;
}

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_ACLNN_EVERY_FUNCTION_H_
