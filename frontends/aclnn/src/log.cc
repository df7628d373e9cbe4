// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "acl/acl_base.h"

namespace {

constexpr const char* kLevelNames[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

int Threshold() {
  static const int threshold = [] {
    const char* value = std::getenv("ASCEND_GLOBAL_LOG_LEVEL");
    return value && *value ? std::atoi(value) : ACL_ERROR;
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
