// SPDX-License-Identifier: Apache-2.0
// Sequences of calls of the aclnn front end from one to three threads: each gives an error with a
// message or does what it should, whatever was destroyed, reset or never made.
#include <semaphore.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "aclnn/fuzz/program.h"
#include "fuzz/require.h"

namespace ropekv::testing {
namespace {

constexpr size_t kMostCalls = 64;
constexpr unsigned kThreads = 3;

// What the first byte of a program says of all of it.
struct Options {
  bool several;  // threads
  bool may_wait;
};

// A semaphore that sleeps at once: std::counting_semaphore and std::atomic yield first, and where
// other programs run, a thread that yields waits for all of them.
class Signal {
 public:
  Signal() { Require(sem_init(&semaphore_, 0, 0) == 0, "a semaphore"); }
  void Send() { sem_post(&semaphore_); }
  void Receive() {
    while (sem_wait(&semaphore_) != 0) {
    }
  }

 private:
  sem_t semaphore_;
};

// Threads that are made once: each does its calls of one program after the other.
class Threads {
 public:
  Threads() {
    for (unsigned i = 1; i < kThreads; ++i) {
      std::thread([this, i] { Serve(i); }).detach();
    }
  }

  void Run(const uint8_t* calls, size_t count, Options options) {
    calls_ = calls;
    count_ = count;
    program_.Begin(options.may_wait);
    if (options.several) {
      std::array<bool, kThreads> busy{};  // those without calls may sleep on
      for (size_t i = 0; i < count; ++i) busy[ThreadOf(i)] = true;
      for (unsigned i = 1; i < kThreads; ++i) {
        if (busy[i]) begin_[i].Send();
      }
      Share(0, true);
      for (unsigned i = 1; i < kThreads; ++i) {
        if (busy[i]) end_.Receive();
      }
    } else {
      Share(0, false);
    }
    program_.End();
  }

 private:
  const uint8_t* CallAt(size_t i) const { return calls_ + i * AclProgram::kCallBytes; }
  // Whose a call is, among several: its first byte says so.
  unsigned ThreadOf(size_t i) const { return CallAt(i)[0] / 64u % kThreads; }

  void Share(unsigned index, bool several) {
    if (aclrtSetDevice(0) != 0) static_cast<void>(TakeMessage());
    for (size_t i = 0; i < count_; ++i) {
      if (!several || ThreadOf(i) == index) program_.Call(CallAt(i));
    }
  }

  void Serve(unsigned index) {
    while (true) {
      begin_[index].Receive();
      Share(index, true);
      end_.Send();
    }
  }

  AclProgram program_;
  const uint8_t* calls_ = nullptr;
  size_t count_ = 0;
  std::array<Signal, kThreads> begin_;
  Signal end_;
};

}  // namespace
}  // namespace ropekv::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropekv::testing;
  static Threads& threads = *new Threads;
  if (size == 0) return 0;
  const size_t calls = std::min((size - 1) / AclProgram::kCallBytes, kMostCalls);
  threads.Run(data + 1, calls, {.several = (data[0] & 1) != 0, .may_wait = data[0] / 2 % 8 == 0});
  return 0;
}
