// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/errors.h"

#include <cstddef>
#include <system_error>

namespace ropekv::cli {

std::string Escape(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      escaped += fmt::format("\\x{:02x}", byte);
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string Quote(std::string_view text) {
  constexpr size_t kLongest = 80;
  return fmt::format("'{}{}'", Escape(text.substr(0, kLongest)),
                     text.size() > kLongest ? "..." : "");
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

}  // namespace ropekv::cli
