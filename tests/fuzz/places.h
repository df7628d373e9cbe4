// SPDX-License-Identifier: Apache-2.0
// Memory for the tensors of one call after another, between guard pages that are made once.
#ifndef ROPEKV_TESTS_FUZZ_PLACES_H_
#define ROPEKV_TESTS_FUZZ_PLACES_H_

#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ropekv/ropekv.h"
#include "support/guarded_buffer.h"

namespace ropekv::testing {

class Places {
 public:
  Places();

  // Gives each tensor a place at an end of its region, or in another tensor's; now and then none,
  // or one that is not aligned. Fills them. False if a tensor is too long or the call too slow.
  bool Place(const Spec& spec, FuzzedDataProvider& in);
  const Args& args() const { return args_; }

  // After a call: what it has left, of which NaNs become alike. Inputs, and outputs
  // unless it succeeded, must be as they were.
  void TakeActual(bool ok) { Take(ok, actual_); }
  void TakeExpected(bool ok) { Take(ok, expected_); }
  // As before the call.
  void Restore();

  bool AreEqual() const { return actual_ == expected_; }
  bool HoldExpected();

 private:
  static constexpr size_t kRegionBytes = 1 << 16;
  struct Extent {
    int64_t first = 0;   // byte of the lowest element, from element [0, 0, ...]
    int64_t length = 0;  // 0: no elements
  };
  // Of one tensor: the bytes from `begin` on in the region of `owner`.
  struct Placed {
    size_t owner = 0;
    int64_t begin = 0;
    int64_t length = 0;
  };
  using Bytes = std::array<std::vector<unsigned char>, kNumTensors>;

  bool Measure(const Spec& spec);
  void Fill(const Spec& spec, FuzzedDataProvider& in);
  void FillIndices(TensorId id, uint64_t seed, bool wild);
  int64_t SeqLen() const { return spec_.x.rank == 3 ? spec_.x.shape[1] : 1; }
  void Take(bool ok, Bytes& bytes);
  void EqualiseNans(Bytes& bytes) const;

  Spec spec_;
  Args args_;
  std::array<GuardedBuffer, kNumTensors> regions_;
  std::array<Extent, kNumTensors> extents_;
  std::array<Placed, kNumTensors> placed_;
  // The bytes of each region that are in use.
  std::array<int64_t, kNumTensors> used_begin_, used_end_;
  Bytes before_, actual_, expected_;
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_FUZZ_PLACES_H_
