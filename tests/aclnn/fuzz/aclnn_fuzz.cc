// SPDX-License-Identifier: Apache-2.0
// Sequences of calls of the aclnn front end from one to three threads: each gives an error with a
// message or does what it should, whatever was destroyed, reset or never made.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "aclnn/fuzz/program.h"

namespace ropekv::testing {
namespace {

constexpr size_t kMostCalls = 64;
constexpr unsigned kThreads = 3;

// Threads that are made once: each does its calls of one program after the other.
class Threads {
 public:
  Threads() {
    for (unsigned i = 1; i < kThreads; ++i) {
      std::thread([this, i] { Serve(i); }).detach();
    }
  }

  void Run(const uint8_t* calls, size_t count, bool several) {
    calls_ = calls;
    count_ = count;
    program_.Begin();
    if (several) {
      busy_ = kThreads - 1;
      ++programs_;
      programs_.notify_all();
      Share(0, kThreads);
      for (unsigned busy = busy_; busy > 0; busy = busy_) busy_.wait(busy);
    } else {
      Share(0, 1);
    }
    program_.End();
  }

 private:
  // The calls of thread `index`: their first byte says whose they are.
  void Share(unsigned index, unsigned threads) {
    if (aclrtSetDevice(0) != 0) static_cast<void>(TakeMessage());
    for (size_t i = 0; i < count_; ++i) {
      const uint8_t* call = calls_ + i * AclProgram::kCallBytes;
      if (call[0] / 64u % threads == index) program_.Call(call);
    }
  }

  void Serve(unsigned index) {
    for (unsigned done = 0;; ++done) {
      programs_.wait(done);
      Share(index, kThreads);
      --busy_;
      busy_.notify_all();
    }
  }

  AclProgram program_;
  const uint8_t* calls_ = nullptr;
  size_t count_ = 0;
  std::atomic<unsigned> programs_{0};
  std::atomic<unsigned> busy_{0};
};

}  // namespace
}  // namespace ropekv::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropekv::testing;
  static Threads& threads = *new Threads;
  if (size == 0) return 0;
  const size_t calls = std::min((size - 1) / AclProgram::kCallBytes, kMostCalls);
  threads.Run(data + 1, calls, (data[0] & 1) != 0);
  return 0;
}
