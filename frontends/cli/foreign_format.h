// SPDX-License-Identifier: Apache-2.0
// Other formats of tensors, for a message when one is given instead of a safetensors file.
#ifndef ROPEKV_FRONTENDS_CLI_FOREIGN_FORMAT_H_
#define ROPEKV_FRONTENDS_CLI_FOREIGN_FORMAT_H_

#include <string_view>

namespace ropekv::cli {

// Enough of a file's beginning for ForeignFormat.
inline constexpr int kForeignFormatBytes = 512;

// What a file that is not safetensors is, from its first bytes; empty if it is none of those known.
std::string_view ForeignFormat(std::string_view begin);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_FOREIGN_FORMAT_H_
