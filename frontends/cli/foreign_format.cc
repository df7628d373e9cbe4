// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/foreign_format.h"

#include <algorithm>
#include <cstddef>

namespace ropekv::cli {
namespace {

// The name of a zip archive's first member. Its length is at byte 26, its text at byte 30.
std::string_view FirstMember(std::string_view begin) {
  constexpr size_t kLength = 26, kName = 30;
  if (begin.size() < kName) return {};
  const size_t length = static_cast<unsigned char>(begin[kLength]);
  return begin.substr(kName, length);
}

}  // namespace

std::string_view ForeignFormat(std::string_view begin) {
  if (begin.starts_with("PK\x03\x04")) {
    const std::string_view member = FirstMember(begin);
    if (member.ends_with(".npy")) return "a NumPy archive (.npz)";
    // torch.save puts all members into one folder.
    if (member.find('/') != member.npos) return "a PyTorch file (torch.save)";
    return "a zip archive";
  }
  if (begin.starts_with("\x93NUMPY")) return "a NumPy array (.npy)";
  // The opcode PROTO, and the protocols that have it. Another opcode follows; in the length of a
  // safetensors header, a 0.
  if (begin.size() >= 3 && begin[0] == '\x80' && begin[1] >= 2 && begin[1] <= 5 && begin[2] != 0) {
    return "a Python pickle, as torch.save wrote before zip archives";
  }
  const size_t text = begin.find_first_not_of(" \t\r\n");
  if (text != begin.npos && begin[text] == '{') {
    return begin.find("\"weight_map\"") != begin.npos
               ? "the index of a model in several safetensors files"
               : "JSON text";
  }
  return {};
}

}  // namespace ropekv::cli
