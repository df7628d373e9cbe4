// SPDX-License-Identifier: Apache-2.0
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "acl/acl_rt.h"
#include "env.h"
#include "error.h"
#include "number.h"

namespace ropekv::acl {
namespace {

constexpr std::string_view kVersionKey = "Version=";

int FindVersion(const char* package, std::string& version) {
  if (!package || !*package) return Fail(ACL_ERROR_INVALID_PARAM, "pkgName is null or empty");
  version = GetEnv().cann_version;
  if (!version.empty()) return ACL_SUCCESS;
  const char* home = std::getenv("ASCEND_HOME_PATH");
  if (!home || !*home) {
    return Fail(ACL_ERROR_INVALID_FILE, "ASCEND_HOME_PATH is not set: source set_env.sh");
  }
  const std::string path = std::string(home) + "/share/info/" + package + "/version.info";
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(kVersionKey, 0) != 0) continue;
    version = line.substr(kVersionKey.size());
    if (version.size() < ACL_PKG_VERSION_MAX_SIZE) return ACL_SUCCESS;
  }
  return Fail(ACL_ERROR_INVALID_FILE, "no version in %s", path.c_str());
}

// "8.5.0", "8.1.RC1", "8.5.0-beta.2", "8.5.0.alpha003": a stage counts down from the release.
bool ToNumber(const std::string& version, int32_t& number) {
  std::string_view text = version;
  int32_t parts[3] = {};
  if (TakeVersion(text, parts) < 2) return false;
  int64_t sum =
      int64_t{parts[0]} * 10'000'000 + int64_t{parts[1]} * 100'000 + int64_t{parts[2]} * 1'000;
  std::string lower = version;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::pair<const char*, int> kStages[] = {{"alpha", -300}, {"beta", -200}, {"rc", -100}};
  for (const auto& [stage, base] : kStages) {
    const size_t at = lower.find(stage);
    if (at == std::string::npos) continue;
    std::string_view rest = std::string_view(lower).substr(at + std::strlen(stage));
    if (rest.starts_with('.')) rest.remove_prefix(1);
    int32_t step = 0;
    TakeNumber(rest, step);
    sum += int64_t{base} + step;
    break;
  }
  if (sum > std::numeric_limits<int32_t>::max()) return false;
  number = static_cast<int32_t>(sum);
  return true;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclrtGetVersion(int32_t* majorVersion, int32_t* minorVersion, int32_t* patchVersion) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!majorVersion || !minorVersion || !patchVersion) {
      return Fail(ACL_ERROR_INVALID_PARAM, "an output is null");
    }
    const auto& version = GetEnv().acl_version;
    *majorVersion = version[0];
    *minorVersion = version[1];
    *patchVersion = version[2];
    return ACL_SUCCESS;
  });
}

aclError aclsysGetVersionStr(char* pkgName, char* versionStr) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!versionStr) return Fail(ACL_ERROR_INVALID_PARAM, "versionStr is null");
    std::string version;
    if (const int code = FindVersion(pkgName, version)) return code;
    std::snprintf(versionStr, ACL_PKG_VERSION_MAX_SIZE, "%s", version.c_str());
    return ACL_SUCCESS;
  });
}

aclError aclsysGetVersionNum(char* pkgName, int32_t* versionNum) {
  return RuntimeCall(__func__, [&]() -> aclError {
    if (!versionNum) return Fail(ACL_ERROR_INVALID_PARAM, "versionNum is null");
    std::string version;
    if (const int code = FindVersion(pkgName, version)) return code;
    if (ToNumber(version, *versionNum)) return ACL_SUCCESS;
    return Fail(ACL_ERROR_INVALID_FILE, "\"%s\" is not a version", version.c_str());
  });
}
