// SPDX-License-Identifier: Apache-2.0
// The switches of docs/aclnn.md, read from the environment once.
#ifndef ROPEKV_ACLNN_ENV_H_
#define ROPEKV_ACLNN_ENV_H_

#include <cstdint>
#include <string>

#include "ropekv/ropekv.h"

namespace ropekv::acl {

struct Env {
  bool strict = false;                    // ROPEKV_STRICT
  bool check = false;                     // ROPEKV_CHECK
  Numerics numerics = Numerics::kAscend;  // ROPEKV_NUMERICS
  int32_t device_count = 1;               // ROPEKV_DEVICE_COUNT
  std::string soc_name = "Ascend910B1";   // ROPEKV_SOC_NAME
  int32_t acl_version[3] = {1, 15, 0};    // ROPEKV_ACL_VERSION
  std::string cann_version;               // ROPEKV_CANN_VERSION; empty: from the version file
  std::string error;                      // which variable has a value that means nothing
};

const Env& GetEnv();

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_ENV_H_
