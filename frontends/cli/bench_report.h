// SPDX-License-Identifier: Apache-2.0
// Measurements as a table, CSV or JSON.
#ifndef ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_
#define ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_

#include <string>
#include <vector>

#include "bench/suite.h"

namespace ropekv::cli {

// The heading and one line a measurement, for printing as they come.
std::string TableHeading();
std::string TableRow(const bench::Measurement& measurement);
std::string CsvHeading();
std::string CsvRow(const bench::Measurement& measurement);

// {"machine": {...}, "results": [...]}
std::string JsonReport(const std::vector<bench::Measurement>& measurements);

// "llama-3-8b, 4096 tokens, x bf16, ..." for progress.
std::string PointText(const bench::Point& point);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_
