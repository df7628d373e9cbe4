// SPDX-License-Identifier: Apache-2.0
// soak [--minutes M]: eight threads decode over one paged cache, with plans and weights that
// change, blocks that come and go, padding, and calls that are refused; results are compared with
// the reference's at random. At the end memory, descriptors and threads must be what they were.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "soak/decoder.h"

namespace ropekv::testing {
namespace {

constexpr int kThreads = 8;
#ifdef ROPEKV_SANITIZED
constexpr int64_t kMostGrowthKib = 512 << 10;  // sanitizers keep freed memory for a while
#else
constexpr int64_t kMostGrowthKib = 2 << 10;
#endif

struct Resources {
  int64_t memory_kib = 0, threads = 0, descriptors = 0;
};

Resources Measure() {
  Resources found;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const auto number = [&] {
      return std::strtoll(line.c_str() + line.find(':') + 1, nullptr, 10);
    };
    if (line.rfind("VmRSS:", 0) == 0) found.memory_kib = number();
    if (line.rfind("Threads:", 0) == 0) found.threads = number();
  }
  const std::filesystem::directory_iterator begin("/proc/self/fd");
  found.descriptors = std::distance(begin, std::filesystem::directory_iterator());
  return found;
}

void Print(const char* when, const Resources& resources) {
  std::printf("%-8s %lld KiB, %lld threads, %lld descriptors\n", when,
              static_cast<long long>(resources.memory_kib),
              static_cast<long long>(resources.threads),
              static_cast<long long>(resources.descriptors));
}

int Soak(double minutes) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto after = [&](double share) {
    return begin + std::chrono::duration_cast<Clock::duration>(
                       std::chrono::duration<double, std::ratio<60>>(minutes * share));
  };
  SharedCache cache;
  std::atomic<bool> stop{false};
  std::vector<std::unique_ptr<Decoder>> decoders;
  for (uint64_t seed = 0; seed < kThreads; ++seed) {
    decoders.push_back(std::make_unique<Decoder>(cache, seed + 1));
  }
  std::vector<std::thread> threads;
  for (const auto& decoder : decoders) {
    threads.emplace_back([&stop, &decoder = *decoder] {
      while (!stop) {
        if (!decoder.Step()) stop = true;
      }
    });
  }
  const auto wait_until = [&](Clock::time_point time) {
    while (!stop && Clock::now() < time) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  // A fifth of the time for everything to be allocated that stays.
  wait_until(after(0.2));
  const Resources before = Measure();
  wait_until(after(1));
  const Resources now = Measure();
  stop = true;
  for (std::thread& thread : threads) thread.join();

  Tally tally;
  for (const auto& decoder : decoders) {
    decoder->End();
    tally.Add(decoder->tally());
  }
  std::printf(
      "%lld calls, %lld tokens, %lld paddings; %lld calls checked, %lld refused; "
      "%lld sequences\n",
      static_cast<long long>(tally.calls), static_cast<long long>(tally.tokens),
      static_cast<long long>(tally.paddings), static_cast<long long>(tally.checked),
      static_cast<long long>(tally.refused), static_cast<long long>(tally.sequences));
  Print("before", before);
  Print("after", now);
  if (!tally.wrong.empty()) {
    std::printf("WRONG: %s\n", tally.wrong.c_str());
    return 1;
  }
  const bool worked = tally.calls > 1000 && tally.checked > 50 && tally.refused > 10 &&
                      tally.sequences > 50 && tally.paddings > 100 && tally.tokens > tally.paddings;
  const bool flat = now.threads == before.threads && now.descriptors == before.descriptors &&
                    now.memory_kib - before.memory_kib <= kMostGrowthKib;
  const bool given_back = cache.blocks.free() == static_cast<size_t>(kNumBlocks);
  if (!worked) std::puts("WRONG: too little has been done to tell anything");
  if (!flat) std::puts("WRONG: memory, threads or descriptors have grown");
  if (!given_back) std::puts("WRONG: blocks of the cache are lost");
  return worked && flat && given_back ? 0 : 1;
}

}  // namespace
}  // namespace ropekv::testing

int main(int argc, char** argv) {
  double minutes = 1;
  if (argc == 3 && std::strcmp(argv[1], "--minutes") == 0) minutes = std::strtod(argv[2], nullptr);
  if ((argc != 1 && argc != 3) || !(minutes > 0)) {
    std::fputs("usage: soak [--minutes M]\n", stderr);
    return 2;
  }
  return ropekv::testing::Soak(minutes);
}
