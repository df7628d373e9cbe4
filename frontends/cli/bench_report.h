// SPDX-License-Identifier: Apache-2.0
// Measurements as a table, CSV or JSON.
#ifndef ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_
#define ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_

#include <set>
#include <string>
#include <vector>

#include "bench/suite.h"

namespace ropekv::cli {

enum class ReportFormat { kTable, kCsv, kJson };

// Prints each measurement as it comes; a peer's follows the operator's. JSON is one object:
// {"machine": {...}, "results": [...], "peers": [...]}, a measurement a line.
class Report {
 public:
  explicit Report(ReportFormat format) : format_(format) {}
  void Begin() const;
  // In the table, what points have that others lack stands above them.
  void Add(const bench::Measurement& measurement);
  void End() const;

 private:
  ReportFormat format_;
  bool first_ = true;
  std::vector<std::string> peers_;  // JSON
  std::set<std::string> notes_;     // about peers, below the table
  std::string features_;            // what the last line of the table was about
};

// "Llama-3-8B, 4096 tokens, x bf16, ..." for progress.
std::string PointText(const bench::Point& point);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_BENCH_REPORT_H_
