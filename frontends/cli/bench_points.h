// SPDX-License-Identifier: Apache-2.0
// Which points a command line asks for.
#ifndef ROPEKV_FRONTENDS_CLI_BENCH_POINTS_H_
#define ROPEKV_FRONTENDS_CLI_BENCH_POINTS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "bench/suite.h"
#include "frontends/cli/choices.h"

namespace ropekv::cli {

inline constexpr Choice<bench::Placement> kPlacementChoices[] = {
    {"contiguous", bench::Placement::kContiguous},
    {"page", bench::Placement::kShuffledBlocks},
    {"random", bench::Placement::kRandomSlots}};

inline constexpr Choice<DType> kAnglesChoices[] = {{"q", DType::kNone},
                                                   {"f32", DType::kF32, "float32"}};
inline constexpr Choice<bench::CacheOrder> kOrderChoices[] = {
    {"nhd", bench::CacheOrder::kTokens},
    {"hnd", bench::CacheOrder::kHeads},
    {"block-major", bench::CacheOrder::kBlocks}};

class PointOptions {
 public:
  void AddTo(CLI::App& app);
  // The product of the lists. Throws InputError for words that are none of a list's, for a choice
  // that no kernel fits, and for a point that makes no plan or does not fit in memory.
  std::vector<bench::Point> Points() const;

 private:
  using Words = std::vector<std::string>;
  struct Lists {
    Words models, tokens, caches, kv_outputs, bounds, threads;
  };
  static const Lists kPlain, kQuick, kFull;

  const Words& ListOrDefault(Words Lists::*list) const;
  std::vector<bench::Variant> Variants() const;
  std::vector<bench::Point> WithFeatures(std::vector<bench::Point> points) const;

  Lists lists_;
  Words x_, dtypes_, numerics_;
  // What --full leaves at its default.
  Words rotary_dims_, rotary_styles_, angles_, cache_dtypes_, index_dtypes_, scales_, orders_;
  Words positions_, packed_, half_widths_, sliced_;
  std::string target_ = "best";
  bool quick_ = false;
  bool full_ = false;
};

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_BENCH_POINTS_H_
