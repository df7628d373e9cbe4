// SPDX-License-Identifier: Apache-2.0
// Calls of the aclnn front end, one for each few bytes of a fuzzer, on objects that all threads
// share. Handles stay in use after they have been destroyed.
#ifndef ROPEKV_TESTS_ACLNN_FUZZ_PROGRAM_H_
#define ROPEKV_TESTS_ACLNN_FUZZ_PROGRAM_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "aclnn/fixture.h"

namespace ropekv::testing {

class AclProgram {
 public:
  // Each call is of this many bytes.
  static constexpr size_t kCallBytes = 4;

  AclProgram();
  ~AclProgram();

  // Forgets what the last program has left. Waiting takes time: few programs may.
  void Begin(bool may_wait);
  void Call(const uint8_t* bytes);
  // Ends all streams, and looks at what the operator has written.
  void End();

 private:
  // A call of the operator that is legal; its arguments stay where they are.
  struct Operator {
    explicit Operator(const Spec& spec) : data(1, spec) {}
    Case data;
  };
  // Memory may be freed while the device uses it, but not while a call is given it.
  struct Block {
    std::shared_mutex mutex;
    void* address = nullptr;
    bool host = false;
  };
  using Handle = std::atomic<void*>;

  void CallStreams(unsigned what, unsigned a, unsigned b);
  void CallEvents(unsigned what, unsigned a, unsigned b);
  void CallMemory(unsigned what, unsigned a, unsigned b);
  void CallDescriptors(unsigned what, unsigned a, unsigned b);
  void CallOperator(unsigned what, unsigned a, unsigned b);
  void Copy(Block& to, Block& from, unsigned how, aclrtStream stream);

  aclrtStream stream(unsigned i) const { return streams_[i % streams_.size()]; }
  // Few calls of a program may wait, if it may.
  bool MayWait() { return waits_.fetch_sub(1) > 0; }

  std::array<Handle, 4> streams_{}, events_{}, contexts_{}, tensors_{}, executors_{}, lists_{};
  std::array<Block, 4> blocks_;
  std::shared_mutex addresses_;  // exclusive: none is given out
  std::array<std::unique_ptr<Operator>, 3> operators_;
  std::atomic<int> waits_{0};
  // A stream may wait for an event, for a second at least: then nothing waits for all its tasks.
  std::atomic<bool> stream_waits_{false};
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_ACLNN_FUZZ_PROGRAM_H_
