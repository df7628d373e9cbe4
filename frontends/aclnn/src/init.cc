// SPDX-License-Identifier: Apache-2.0
// Initialisation, which other calls do not depend on: it is counted, and reads the configuration.
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "acl/acl_rt.h"
#include "aclnn/aclnn_base.h"
#include "check.h"
#include "env.h"
#include "error.h"
#include "json.h"

namespace ropekv::acl {
namespace {

struct Initialisation {
  std::mutex mutex;
  uint64_t count = 0;
  bool finalised = false;             // and not initialised since
  std::optional<std::string> config;  // of the first aclInit
};

Initialisation& State() {
  static auto& state = *new Initialisation;
  return state;
}

// Returns a code; `text` becomes the file's contents.
int ReadConfig(const char* path, std::string& text) {
  if (!path || !*path) return ACL_SUCCESS;
  std::ifstream file(path);
  text.assign(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || file.bad()) return Fail(ACL_ERROR_INVALID_FILE, "cannot read %s", path);
  if (ParseJsonObject(text)) return ACL_SUCCESS;
  return Fail(ACL_ERROR_PARSE_FILE, "%s is not a JSON object", path);
}

void Apply(const std::string& config) {
  const auto members = ParseJsonObject(config);
  if (!members) return;
  const auto mode = members->find("err_msg_mode");
  if (mode != members->end()) ShareErrorMessages(mode->second == "1");
}

int Finalise(Initialisation& state) {
  state.count = 0;
  state.finalised = true;
  if (GetEnv().check) CheckLeaks();
  return ACL_SUCCESS;
}

}  // namespace
}  // namespace ropekv::acl

using namespace ropekv::acl;

aclError aclInit(const char* configPath) {
  return RuntimeCall(__func__, [&]() -> aclError {
    Initialisation& state = State();
    const std::lock_guard lock(state.mutex);
    // Whatever the configuration: that of the first call is in force.
    if (state.count > 0) {
      ++state.count;
      return Fail(ACL_ERROR_REPEAT_INITIALIZE, "already initialised; this is harmless");
    }
    std::string config;
    if (const int code = ReadConfig(configPath, config)) return code;
    if (state.config && *state.config != config) {
      return Fail(ACL_ERROR_INVALID_PARAM,
                  "the configuration differs from that of the first aclInit");
    }
    Apply(config);
    state.config = std::move(config);
    state.count = 1;
    state.finalised = false;
    return ACL_SUCCESS;
  });
}

aclError aclFinalize() {
  return RuntimeCall(__func__, [&]() -> aclError {
    Initialisation& state = State();
    const std::lock_guard lock(state.mutex);
    if (state.finalised) return Fail(ACL_ERROR_REPEAT_FINALIZE, "already finalised");
    return Finalise(state);
  });
}

aclError aclFinalizeReference(uint64_t* refCount) {
  return RuntimeCall(__func__, [&]() -> aclError {
    Initialisation& state = State();
    const std::lock_guard lock(state.mutex);
    if (state.count == 0) return Fail(ACL_ERROR_REPEAT_FINALIZE, "not initialised");
    const uint64_t left = state.count - 1;
    if (refCount) *refCount = left;
    if (left == 0) return Finalise(state);
    state.count = left;
    return ACL_SUCCESS;
  });
}

aclnnStatus aclnnInit(const char* configPath) {
  return AclnnCall(__func__, [&]() -> aclnnStatus {
    std::string config;
    if (ReadConfig(configPath, config)) return Fail(kErrParamInvalid, "configPath is not usable");
    Apply(config);
    return ACL_SUCCESS;
  });
}

// aclnnInit holds nothing that would have to be given back.
aclnnStatus aclnnFinalize() {
  return AclnnCall(__func__, [] { return ACL_SUCCESS; });
}
