// SPDX-License-Identifier: Apache-2.0
// What one thread of an inference server does: decodes a batch of sequences that grow, end and
// begin anew, over a cache that it shares with others.
#ifndef ROPEKV_TESTS_SOAK_DECODER_H_
#define ROPEKV_TESTS_SOAK_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ropekv/ropekv.h"
#include "soak/blocks.h"
#include "support/rng.h"

namespace ropekv::testing {

inline constexpr int64_t kBlockSize = 16, kKvHeads = 2, kQHeads = 4, kHeadDim = 64;
inline constexpr int64_t kRowBytes = kKvHeads * kHeadDim;
inline constexpr int32_t kNumBlocks = 256;

struct SharedCache {
  Blocks blocks{kNumBlocks};
  std::vector<int8_t> k = std::vector<int8_t>(kNumBlocks * kBlockSize * kRowBytes, 99);
  std::vector<int8_t> v = k;
};

// What has happened.
struct Tally {
  int64_t calls = 0, tokens = 0, paddings = 0;
  int64_t checked = 0;    // calls whose bytes were compared with the reference's
  int64_t refused = 0;    // calls that were bad on purpose
  int64_t sequences = 0;  // that ended, and whose whole cache was compared
  std::string wrong;      // the first thing

  void Add(const Tally& other);
};

class Decoder {
 public:
  Decoder(SharedCache& cache, uint64_t seed);

  // One call, or one that is refused. False if something was wrong.
  bool Step();
  // Gives all blocks back.
  void End();
  const Tally& tally() const { return tally_; }

 private:
  static constexpr size_t kSequences = 12;
  static constexpr int64_t kPoolTokens = 64;

  struct Sequence {
    std::vector<int32_t> blocks;
    std::vector<int8_t> k, v;  // the rows that the cache should have
    int64_t length = 0, end = 0;
  };
  // One way to call the operator; its tensors are of `tokens` tokens.
  struct Way {
    Spec spec;
    Plan plan, bound;
  };

  Way MakeWay(int64_t tokens);
  void NewPlans();
  std::optional<int32_t> NextSlot(Sequence& sequence);
  bool Finish(Sequence& sequence);
  Args ArgsFor(int64_t first_token);
  bool Refused(const Way& way, Args args);
  bool CheckResult(const Way& way, const Args& args);
  bool Fail(const std::string& what);
  int8_t* RowOf(std::vector<int8_t>& cache, int32_t slot) const {
    return cache.data() + slot * kRowBytes;
  }

  SharedCache& cache_;
  Rng rng_;
  Tally tally_;
  std::vector<Sequence> sequences_;
  std::vector<Way> ways_;
  std::vector<uint8_t> x_, weights_;
  std::vector<uint32_t> cos_, sin_, q_, k_, v_;  // room for elements of 4 bytes
  std::vector<int32_t> slots_;
};

}  // namespace ropekv::testing

#endif  // ROPEKV_TESTS_SOAK_DECODER_H_
