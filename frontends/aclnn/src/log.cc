// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "acl/acl_base.h"
#include "number.h"

namespace {

constexpr const char* kLevelNames[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

int Threshold() {
  static const int threshold = [] {
    const char* value = std::getenv("ASCEND_GLOBAL_LOG_LEVEL");
    std::string_view text = value ? value : "";
    int32_t level = 0;
    return ropekv::acl::TakeNumber(text, level) && text.empty() ? level : ACL_ERROR;
  }();
  return threshold;
}

}  // namespace

void aclAppLog(aclLogLevel logLevel, const char* func, const char* file, uint32_t line,
               const char* fmt, ...) {
  if (logLevel < Threshold() || !fmt) return;
  char text[1024];
  va_list arguments;
  va_start(arguments, fmt);
  std::vsnprintf(text, sizeof text, fmt, arguments);
  va_end(arguments);
  const int level = std::clamp(static_cast<int>(logLevel), 0, 3);
  // One call, so that lines of different threads do not mix.
  std::fprintf(stderr, "[%s] %s:%u %s: %s\n", kLevelNames[level], file ? file : "", line,
               func ? func : "", text);
}
