// SPDX-License-Identifier: Apache-2.0
// Cases that look like one layer of a model at work.
#ifndef ROPEKV_WORKLOAD_GENERATE_H_
#define ROPEKV_WORKLOAD_GENERATE_H_

#include <cstdint>

#include "ropekv/ropekv.h"
#include "workload/case.h"
#include "workload/models.h"

namespace ropekv::workload {

// What has a scale, and an offset, of its own.
enum class Scales : uint8_t { kChannel, kHead, kTensor };

struct GenerateOptions {
  Model model = Models().front();  // with its rotation
  int64_t batch = 1;
  int64_t seq = 1;  // new tokens of each sequence; 0 is legal
  // Tokens already cached: as many in the first sequence, at least half as many in the others.
  int64_t past = 0;
  DType x = DType::kBF16;           // kI32, kF16, kBF16 or kF32
  DType dtype = DType::kBF16;       // of q, k, v: x's unless x is kI32
  DType angles = DType::kNone;      // of cos and sin; kNone: `dtype`
  bool positions = false;           // cos and sin are a table of a row a position
  bool packed = false;              // cos and sin are the halves of the rows of one tensor
  bool half_width = false;          // cos and sin have an entry a pair
  DType index_dtype = DType::kI32;  // of indices and positions
  DType cache_dtype = DType::kI8;   // others have no scales and no offsets
  Scales scales = Scales::kChannel;
  CacheLayout cache = CacheLayout::kContiguous;
  int64_t block_size = 128;  // kPaged only
  DType bias = DType::kNone;
  bool offsets = false;
  bool kv_output = false;
  uint64_t seed = 0;
};

// The shapes alone. Extents too large for memory or for int32 indices are the caller's to refuse.
Spec MakeSpec(const GenerateOptions& options);

// Values: every seventeenth channel or so of x is an outlier, as in real activations; the scales
// follow the channels, so that int8 values fill their range and about one in a hundred saturates;
// block tables are shuffled and the tails of some sequences are padding (a negative slot). The same
// options and seed give the same bytes on every platform.
Case Generate(const GenerateOptions& options);

}  // namespace ropekv::workload

#endif  // ROPEKV_WORKLOAD_GENERATE_H_
