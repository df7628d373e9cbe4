// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "bench/suite.h"
#include "frontends/cli/bench_peers.h"
#include "frontends/cli/bench_points.h"
#include "frontends/cli/bench_report.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/options.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(A time is the median over the runs of one call, all warm that fits in the caches; +-% is half
the spread. The copy beside it takes turns with it: it reads the bytes that the operator must read
and writes the bytes that it must write, at the same addresses and with the same threads, and
computes nothing; the better of ordinary and streaming stores. ratio = copy / call.

A point is a word of each list. Unless given, --kv-output and --bound are false, or with --full both
ways, and
            --model                       --tokens                        --cache  --threads
  plainly   llama-3-8b                    1,4,16,64,256,1024,4096,16384   page     1,all
  --quick   llama-3-8b, llama-3-70b-tp8   1,16,256,4096                   page     1
  --full    all                           1,4,16,64,256,1024,4096,16384   all      1,all
and all kernels that fit --x, --dtype and --numerics, those of f32 only if one of them names it.
--quick takes less than a minute, --full hours. A page cache has blocks of 128 tokens in random
order; random is a page cache with each token in a slot anywhere. With --bound (b in the table)
scales, offsets and biases belong to the plan.

The other lists are at their first word unless given, with --full, too. A line of the table names
what the points below it have of them. positions are in runs of 128, in random order. A cache is nhd
as it is, hnd with its heads before its tokens, block-major with its blocks of K and V by turns in
one tensor. sliced: q, and k and v with --kv-output, are slices of rows as long as those of x.

Peers do the same on the same data:
  chain                 a loop over all tokens for each step, with the kernels' compiler flags
  numpy, onnxruntime, torch, torch-compile   each in a Python process of its own, if installed
--json has the share of int8 cache entries in which a peer differs from the operator, and why it is
absent if it is. Peers do the plain operator only, and say so where a point has more.

To count instructions where perf has no counters: valgrind --tool=callgrind \
  --toggle-collect='ropekv::Run(*' ropekv run case.safetensors -o out.safetensors --threads 1

Examples:
  ropekv bench --quick
  ropekv bench --model llama-3-8b,phi-3-mini --tokens 1,4096 --x i32,bf16 --threads 1,all
  ropekv bench --tokens 4096 --cache all --numerics float32 --threads 1 --csv
  ropekv bench --tokens 256 --threads 1 --x bf16 --rotary-style half,interleaved --positions true
  ropekv bench --tokens 16,4096 --threads 1 --peer
  ropekv bench --tokens 256 --peer chain,torch --python venv/bin/python --json > bench.json)";

// One line on the terminal, rewritten for each point and removed at the end.
class Progress {
 public:
  explicit Progress(size_t total) : total_(total), shown_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() { Clear(); }
  void Next(const bench::Point& point) {
    Clear();
    if (shown_) {
      fmt::print(stderr, "[{}/{}{}] {}", count_ + 1, total_, TimeLeft(), PointText(point));
    }
    ++count_;
  }
  void Clear() const {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::string TimeLeft() const {
    if (count_ == 0) return "";
    const std::chrono::duration<double, std::ratio<60>> minutes = Clock::now() - start_;
    const auto share = static_cast<double>(total_ - count_) / static_cast<double>(count_);
    return fmt::format(", {:.0f} min left", minutes.count() * share);
  }

  Clock::time_point start_ = Clock::now();
  size_t total_;
  size_t count_ = 0;
  bool shown_;
};

struct BenchCommand {
  PointOptions points;
  std::vector<std::string> peers;
  std::string python = "python3";
  int64_t runs = 9;
  bool csv = false;
  bool json = false;

  ReportFormat format() const {
    return json ? ReportFormat::kJson : csv ? ReportFormat::kCsv : ReportFormat::kTable;
  }
  void Execute() const;
};

void BenchCommand::Execute() const {
  const std::vector<bench::Point> chosen = points.Points();
  std::vector<std::string> names = ParsePeers(peers);
  const bool with_chain = std::erase(names, "chain") > 0;
  Report report(format());
  report.Begin();
  Progress progress(chosen.size());
  for (const bench::Point& point : chosen) {
    progress.Next(point);
    workload::Case made = bench::CaseOf(point);
    bench::Measurement measurement =
        bench::Measure(point, made, {.runs = static_cast<int>(runs)}, with_chain);
    // A peer that cannot run at all is not asked again.
    std::erase_if(names, [&](const std::string& name) {
      measurement.peers.push_back(
          MeasurePythonPeer(python, name, point, made, static_cast<int>(runs)));
      return !measurement.peers.back().absent.empty();
    });
    progress.Clear();
    report.Add(measurement);
  }
  report.End();
}

}  // namespace

void AddBench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Time the operator beside a plain copy");
  const auto command = std::make_shared<BenchCommand>();
  command->points.AddTo(*bench);
  AddInteger(*bench, "--runs", &command->runs, 1, 1000, "Of each measurement; 9 unless given");
  bench
      ->add_option("--peer", command->peers,
                   "Other implementations, see below; all if none is named")
      ->delimiter(',')
      ->expected(0, -1)
      ->default_str("all")
      ->option_text("[LIST]");
  bench->add_option("--python", command->python, "For peers; python3 unless given")
      ->option_text("PATH");
  CLI::Option* csv = bench->add_flag("--csv", command->csv, "Comma-separated values");
  bench->add_flag("--json", command->json, "One JSON object, with the machine")->excludes(csv);
  bench->footer(kFooter);
  bench->callback([command] { command->Execute(); });
}

}  // namespace ropekv::cli
