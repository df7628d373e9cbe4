// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/machine.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

namespace ropekv::cli {

std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

int64_t CacheBytes(int level) {
  for (int i = 0;; ++i) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", i);
    const auto read = [&](const char* name) {
      std::string text;
      std::getline(std::ifstream(folder + name), text);
      return text;
    };
    if (read("level").empty()) return 0;
    if (read("level") != std::to_string(level) || read("type") == "Instruction") continue;
    return std::strtoll(read("size").c_str(), nullptr, 10) << 10;  // "32K"
  }
}

}  // namespace ropekv::cli
