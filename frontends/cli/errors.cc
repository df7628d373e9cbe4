// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/errors.h"

#include <cstddef>
#include <cstdio>
#include <system_error>

namespace ropekv::cli {

void ThrowIfError(const std::string& path, const Status& status) {
  if (status.ok()) return;
  if (status.code() == StatusCode::kBadOption) throw InputError(status);
  throw InputError(path, status.message());
}

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

void PrintNote(const std::string& text) {
  // Not by fmt::print, which throws when stderr takes no more.
  if (!text.empty()) std::fputs(fmt::format("ropekv: note: {}\n", Escape(text)).c_str(), stderr);
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

}  // namespace ropekv::cli
