// SPDX-License-Identifier: Apache-2.0
#include "env.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "number.h"

namespace ropekv::acl {
namespace {

struct Variable {
  const char* name;
  const char* legal;
  bool (*parse)(const char* value, Env& env);
};

bool ParseSwitch(std::string_view value, bool& on) {
  on = value == "1";
  return on || value == "0";
}

constexpr int32_t kMaxDevices = 64;

constexpr Variable kVariables[] = {
    {"ROPEKV_STRICT", "0 or 1",
     [](const char* value, Env& env) { return ParseSwitch(value, env.strict); }},
    {"ROPEKV_CHECK", "0 or 1",
     [](const char* value, Env& env) { return ParseSwitch(value, env.check); }},
    {"ROPEKV_NUMERICS", "ascend or float32",
     [](const char* value, Env& env) {
       const bool is_float32 = std::strcmp(value, "float32") == 0;
       env.numerics = is_float32 ? Numerics::kFloat32 : Numerics::kAscend;
       return is_float32 || std::strcmp(value, "ascend") == 0;
     }},
    {"ROPEKV_DEVICE_COUNT", "1 to 64",
     [](const char* value, Env& env) {
       char* end = nullptr;
       const long count = std::strtol(value, &end, 10);
       if (*end != '\0' || count < 1 || count > kMaxDevices) return false;
       env.device_count = static_cast<int32_t>(count);
       return true;
     }},
    {"ROPEKV_SOC_NAME", "any name",
     [](const char* value, Env& env) { return !(env.soc_name = value).empty(); }},
    {"ROPEKV_ACL_VERSION", "major.minor.patch",
     [](const char* value, Env& env) {
       std::string_view text = value;
       return TakeVersion(text, env.acl_version) == 3 && text.empty();
     }},
    {"ROPEKV_CANN_VERSION", "any version",
     [](const char* value, Env& env) { return !(env.cann_version = value).empty(); }},
};

Env ReadEnv() {
  Env env;
  for (const Variable& variable : kVariables) {
    const char* value = std::getenv(variable.name);
    if (!value || !*value || variable.parse(value, env)) continue;
    env.error = std::string(variable.name) + "=" + value + ": expected " + variable.legal;
  }
  return env;
}

}  // namespace

const Env& GetEnv() {
  // Never destroyed: threads outlive main.
  static const Env& env = *new Env(ReadEnv());
  return env;
}

}  // namespace ropekv::acl
