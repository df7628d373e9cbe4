// SPDX-License-Identifier: Apache-2.0
// The JSON header of a safetensors file, as text that nobody has vouched for.
#ifndef ROPEKV_FRONTENDS_CLI_SAFETENSORS_HEADER_H_
#define ROPEKV_FRONTENDS_CLI_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/cli/safetensors.h"

namespace ropekv::cli {

struct Header {
  std::vector<StoredTensor> tensors;  // in the order of their data
  Metadata metadata;
};

// Parses `text` and checks every entry, also against the `data_size` bytes that follow it if their
// number is known. Throws InputError naming `path`.
Header ParseHeader(const std::string& path, std::string_view text,
                   std::optional<int64_t> data_size);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_SAFETENSORS_HEADER_H_
