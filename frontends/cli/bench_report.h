// SPDX-License-Identifier: Apache-2.0
// Measurements as a table, CSV or JSON, in pieces to print as they come.
#ifndef ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_
#define ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_

#include <string>

#include "bench/suite.h"
#include "frontends/cli/choices.h"

namespace ropekv::cli {

inline constexpr Choice<bench::Placement> kPlacementChoices[] = {
    {"contiguous", bench::Placement::kContiguous},
    {"page", bench::Placement::kShuffledBlocks},
    {"random", bench::Placement::kRandomSlots}};

std::string TableHeading();
std::string TableRow(const bench::Measurement& measurement);
std::string CsvHeading();
std::string CsvRow(const bench::Measurement& measurement);

// {"machine": {...}, "results": [...], "peers": [...]}, a measurement a line.
std::string JsonHead();
std::string JsonRow(const bench::Measurement& measurement);
std::string JsonTail();

// "Llama-3-8B, 4096 tokens, x bf16, ..." for progress.
std::string PointText(const bench::Point& point);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_
