// SPDX-License-Identifier: Apache-2.0
// Walks the tokens of a checked call: shares them among threads, finds each one's cache row, and
// hands runs of them to the row kernel.
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <exception>

#include "plan/cache_address.h"
#include "plan/plan.h"
#include "run/check_args.h"
#include "run/fp_env.h"
#include "run/slots.h"

namespace ropekv {
namespace internal {
namespace {

// Tokens per kernel call: enough to make the call's cost vanish, few enough for the stack.
constexpr int64_t kChunk = 256;

class TokenWalk {
 public:
  TokenWalk(const PlanData& plan, const Args& args)
      : plan_(plan),
        args_(args),
        indices_{static_cast<const int32_t*>(args.indices), plan.effective.indices.stride[0]} {}

  void Run(int64_t begin, int64_t end) const {
    const DefaultFpEnvironment environment;
    while (begin < end) {
      const int64_t outer = begin / plan_.inner;
      const int64_t inner = begin % plan_.inner;
      const int64_t count = std::min({kChunk, end - begin, plan_.inner - inner});
      RunChunk(begin, outer, inner, count);
      begin += count;
    }
  }

 private:
  // Tokens [token, token + count), which are [inner, inner + count) of run `outer`.
  void RunChunk(int64_t token, int64_t outer, int64_t inner, int64_t count) const {
    int8_t* k_rows[kChunk];
    int8_t* v_rows[kChunk];
    if (plan_.effective.cache_layout == CacheLayout::kPaged) {
      LocateRows<PagedAddress>(token, count, plan_.effective.k_cache, args_.k_cache, k_rows);
      LocateRows<PagedAddress>(token, count, plan_.effective.v_cache, args_.v_cache, v_rows);
    } else {
      LocateRows<ContiguousAddress>(token, count, plan_.effective.k_cache, args_.k_cache, k_rows);
      LocateRows<ContiguousAddress>(token, count, plan_.effective.v_cache, args_.v_cache, v_rows);
    }

    RowCall call = plan_.row;
    call.num_tokens = count;
    call.k_cache.rows = k_rows;
    call.v_cache.rows = v_rows;
    Bind(TensorId::kX, outer, inner, call.x);
    Bind(TensorId::kCos, outer, inner, call.cos);
    Bind(TensorId::kSin, outer, inner, call.sin);
    Bind(TensorId::kActivationScale, outer, inner, call.activation_scale);
    Bind(TensorId::kScaleK, 0, 0, call.scale_k);
    Bind(TensorId::kScaleV, 0, 0, call.scale_v);
    Bind(TensorId::kOffsetK, 0, 0, call.offset_k);
    Bind(TensorId::kOffsetV, 0, 0, call.offset_v);
    Bind(TensorId::kWeightScale, 0, 0, call.weight_scale);
    Bind(TensorId::kBias, 0, 0, call.bias);
    Bind(TensorId::kQ, outer, inner, call.q);
    Bind(TensorId::kK, outer, inner, call.k);
    Bind(TensorId::kV, outer, inner, call.v);
    plan_.rows(call);
  }

  // Points a row tensor at token `inner` of run `outer`; a tensor the plan does not use stays null.
  template <class RowTensor>
  void Bind(TensorId id, int64_t outer, int64_t inner, RowTensor& row) const {
    const size_t at = static_cast<size_t>(id);
    const TensorField& field = kTensorFields[at];
    if (plan_.footprints[at].length == 0) return;
    const int64_t bytes = (outer * plan_.outer_stride[at] + inner * row.token_stride) *
                          plan_.footprints[at].element_bytes;
    if constexpr (std::is_same_v<RowTensor, RowInput>) {
      row.data = static_cast<const char*>(args_.*field.input) + bytes;
    } else {
      row.data = static_cast<char*>(args_.*field.output) + bytes;
    }
  }

  // The address of each token's cache row; null for padding.
  template <class Address>
  void LocateRows(int64_t token, int64_t count, const TensorSpec& cache, void* data,
                  int8_t** rows) const {
    const Address address(cache, plan_.sizes.seq_len);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t offset = address(token + i, indices_);
      rows[i] = offset == kPadding ? nullptr : static_cast<int8_t*>(data) + offset;
    }
  }

  const PlanData& plan_;
  const Args& args_;
  IndexView indices_;
};

// Waking a second thread costs a few microseconds; a thread copies this much in about that time.
constexpr int64_t kMinBytesPerThread = 128 << 10;

int64_t ChooseThreads(const PlanData& plan, int64_t tokens, int num_threads) {
  if (num_threads > 0) return std::max<int64_t>(1, std::min<int64_t>(num_threads, tokens));
  const int64_t worthwhile =
      tokens / std::max<int64_t>(1, kMinBytesPerThread / plan.bytes_per_token);
  if (worthwhile < 2) return 1;
  return std::min<int64_t>({oneapi::tbb::info::default_concurrency(), worthwhile, tokens});
}

void RunTokens(const PlanData& plan, const Args& args, TokenRange range, int num_threads) {
  const TokenWalk walk(plan, args);
  const int64_t tokens = range.end - range.begin;
  const int64_t threads = ChooseThreads(plan, tokens, num_threads);
  if (threads == 1) return walk.Run(range.begin, range.end);
  // oneTBB restores the caller's rounding mode but not its status flags.
  const DefaultFpEnvironment environment;
  // One contiguous part a thread. As many tasks as threads bound how many run at once, in whatever
  // arena the caller is in.
  oneapi::tbb::parallel_for(
      int64_t{0}, threads,
      [&](int64_t part) {
        const auto part_begin = [&](int64_t n) {
          return range.begin + n * (tokens / threads) + std::min(n, tokens % threads);
        };
        walk.Run(part_begin(part), part_begin(part + 1));
      },
      oneapi::tbb::simple_partitioner());
}

}  // namespace
}  // namespace internal

Status Run(const Plan& plan, const Args& args, const RunOptions& options) noexcept {
  try {
    internal::TokenRange range;
    Status status = internal::CheckCall(plan.data(), args, options, range);
    if (status.ok()) internal::RunTokens(plan.data(), args, range, options.num_threads);
    return status;
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kOutOfMemory, "memory", "exhausted");
  } catch (const std::exception& error) {
    return Status(StatusCode::kInternal, "threads", error.what());
  }
}

}  // namespace ropekv
