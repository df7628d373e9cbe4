// SPDX-License-Identifier: Apache-2.0
#include "run/threads.h"

#include <fcntl.h>
#include <oneapi/tbb/info.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <string_view>

#include "ropekv/ropekv.h"

namespace ropekv {
namespace internal {
namespace {

// Waking a second thread costs a few microseconds; a thread copies this much in about that time.
constexpr int64_t kMinBytesPerThread = 128 << 10;

// The beginning of a file, into a buffer; empty if there is none.
template <size_t kSize>
std::string_view ReadFile(const char* path, char (&buffer)[kSize]) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t size = read(file, buffer, kSize);
  close(file);
  return {buffer, static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

// Takes off what is before `end`, and `end` itself.
std::string_view TakeUntil(std::string_view& text, char end) {
  const size_t size = std::min(text.find(end), text.size());
  const std::string_view taken = text.substr(0, size);
  text.remove_prefix(std::min(size + 1, text.size()));
  return taken;
}

int64_t Number(std::string_view text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;  // 0 for "max"
}

// Of one group of either version; 0: no limit.
int64_t QuotaOf(const char* root, const char* hierarchy, std::string_view group, bool second) {
  char path[1024], text[64], more[64];
  const auto read = [&](const char* name, char(&buffer)[64]) {
    std::snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s%.*s/%s", root, hierarchy,
                  static_cast<int>(group.size()), group.data(), name);
    return ReadFile(path, buffer);
  };
  int64_t quota = 0, period = 0;
  if (second) {
    std::string_view both = read("cpu.max", text);
    quota = Number(TakeUntil(both, ' '));
    period = Number(both);
  } else {
    quota = Number(read("cpu.cfs_quota_us", text));
    period = Number(read("cpu.cfs_period_us", more));
  }
  return quota > 0 && period > 0 ? (quota - 1) / period + 1 : 0;
}

}  // namespace

int64_t ProcessorQuota(const char* root) noexcept {
  char path[256], text[4096];
  std::snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
  std::string_view lines = ReadFile(path, text);
  int64_t least = 0;
  while (!lines.empty()) {
    // number:controllers:group, of the second version without controllers.
    std::string_view line = TakeUntil(lines, '\n');
    TakeUntil(line, ':');
    std::string_view controllers = TakeUntil(line, ':');
    const bool second = controllers.empty();
    bool counts = second;
    while (!controllers.empty()) counts |= TakeUntil(controllers, ',') == "cpu";
    if (!counts) continue;
    // The limits of all groups that it is in hold. In a container the path may be the host's, of
    // which only the end is there to be read: the root.
    for (std::string_view group = line == "/" ? "" : line;;) {
      const int64_t quota = QuotaOf(root, second ? "" : "/cpu", group, second);
      if (quota > 0) least = least == 0 ? quota : std::min(least, quota);
      if (group.empty()) break;
      group = group.substr(0, std::min(group.rfind('/'), group.size()));
    }
  }
  return least;
}

int CountThreads(const char* root) noexcept {
  // oneTBB keeps to the affinity of the process, and since 2022 to its control groups.
  const auto counted = static_cast<int64_t>(oneapi::tbb::info::default_concurrency());
  const int64_t quota = ProcessorQuota(root);
  return static_cast<int>(quota > 0 ? std::min(quota, counted) : counted);
}

int64_t ChooseThreads(int64_t tokens, int64_t bytes_per_token, int num_threads) noexcept {
  if (num_threads > 0) return std::max<int64_t>(1, std::min<int64_t>(num_threads, tokens));
  const int64_t worthwhile = tokens / std::max<int64_t>(1, kMinBytesPerThread / bytes_per_token);
  if (worthwhile < 2) return 1;
  return std::min<int64_t>({MaxThreads(), worthwhile, tokens});
}

}  // namespace internal

int MaxThreads() noexcept {
  static const int threads = internal::CountThreads("");
  return threads;
}

}  // namespace ropekv
