// SPDX-License-Identifier: Apache-2.0
// The attributes of a case, as metadata of its file.
#ifndef ROPEKV_FRONTENDS_CLI_CASE_METADATA_H_
#define ROPEKV_FRONTENDS_CLI_CASE_METADATA_H_

#include <string>
#include <vector>

#include "frontends/cli/safetensors.h"
#include "ropekv/ropekv.h"

namespace ropekv::cli {

// Sets the attributes of *spec. Throws InputError naming `path`. Adds a remark for each value that
// is not spelt as it should be, and for each key that no case has.
void ParseMetadata(const std::string& path, const Metadata& metadata, Spec* spec,
                   std::vector<std::string>* remarks);

// The inverse.
Metadata MakeMetadata(const Spec& spec);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_CASE_METADATA_H_
