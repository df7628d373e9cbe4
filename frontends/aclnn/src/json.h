// SPDX-License-Identifier: Apache-2.0
// Just enough JSON for the configuration file of aclInit.
#ifndef ROPEKV_ACLNN_JSON_H_
#define ROPEKV_ACLNN_JSON_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ropekv::acl {

// The members of a JSON object whose values are strings or numbers (as written); nothing if the
// text is not one JSON object.
std::optional<std::map<std::string, std::string>> ParseJsonObject(std::string_view text);

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_JSON_H_
