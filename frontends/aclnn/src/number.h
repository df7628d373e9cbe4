// SPDX-License-Identifier: Apache-2.0
// Numbers in strings from outside, which may be too large or none.
#ifndef ROPEKV_ACLNN_NUMBER_H_
#define ROPEKV_ACLNN_NUMBER_H_

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace ropekv::acl {

// Takes a number without a sign off the front of `text`. False, and all as it was, if there is none
// or it does not fit.
inline bool TakeNumber(std::string_view& text, int32_t& number) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

// Takes up to three numbers, each but the first behind a dot, and says how many there are.
inline int TakeVersion(std::string_view& text, int32_t (&version)[3]) {
  for (int count = 0;; ++count) {
    if (count == 3 || !TakeNumber(text, version[count])) return count;
    if (count < 2 && text.starts_with('.')) text.remove_prefix(1);
  }
}

}  // namespace ropekv::acl

#endif  // ROPEKV_ACLNN_NUMBER_H_
