// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "bench/suite.h"
#include "frontends/cli/bench_report.h"
#include "frontends/cli/case_file.h"
#include "frontends/cli/choices.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/options.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(The copy beside each time reads the bytes that the operator must read and writes the bytes that
it must write, at the same addresses, with the same threads, and computes nothing; the better of
ordinary and streaming stores. ratio = copy / call. Times are medians over the runs, taken in
turns with the copy; +-% is half their spread. Lists are separated by commas.

Unless given:       --model        --tokens                       --cache   --kv-output  --threads
  plainly           llama-3-8b     1,4,16,64,256,1024,4096,16384  page      false        1,all
  with --quick      llama-3-8b,    1,16,256,4096                  page      false        1
                    llama-3-70b-tp8
  with --full       all            1,4,16,64,256,1024,4096,16384  all       false,true   1,all
--x, --dtype and --numerics choose among the kernels there are; all of them unless given.
--quick takes less than a minute, --full hours.

Examples:
  ropekv bench --quick
  ropekv bench --model llama-3-8b,phi-3-mini --tokens 1,4096 --x int32,bf16 --threads 1,all
  ropekv bench --tokens 4096 --cache contiguous,page,random --numerics float32 --threads 1
  ropekv bench --model all --tokens 256 --json > shapes.json)";

constexpr Choice<DType> kXChoices[] = {
    {"int32", DType::kI32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}};
constexpr Choice<DType> kDTypeChoices[] = {{"f16", DType::kF16}, {"bf16", DType::kBF16}};

// A choice of words of each list.
struct Lists {
  std::vector<std::string> models, tokens, caches, kv_outputs, threads;
};

const std::vector<std::string> kAllTokens{"1", "4", "16", "64", "256", "1024", "4096", "16384"};
const Lists kPlain{{"llama-3-8b"}, kAllTokens, {"page"}, {"false"}, {"1", "all"}};
const Lists kQuick{
    {"llama-3-8b", "llama-3-70b-tp8"}, {"1", "16", "256", "4096"}, {"page"}, {"false"}, {"1"}};
const Lists kFull{{"all"}, kAllTokens, {"all"}, {"false", "true"}, {"1", "all"}};

struct BenchCommand {
  Lists lists;
  std::vector<std::string> x, dtypes, numerics;
  std::string target = "best";
  int64_t runs = 9;
  bool quick = false;
  bool full = false;
  bool csv = false;
  bool json = false;

  std::vector<bench::Point> Points() const;
  void Execute() const;
};

int64_t ParseCount(std::string_view option, const std::string& text, int64_t high) {
  size_t used = 0;
  int64_t value = 0;
  try {
    value = std::stoll(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || value < 1 || value > high) {
    throw InputError(option, fmt::format("{} is not an integer from 1 to {}", Quote(text), high));
  }
  return value;
}

template <class T, size_t n>
std::vector<T> ParseChoices(std::string_view option, const std::vector<std::string>& words,
                            const Choice<T> (&choices)[n]) {
  std::vector<T> values;
  for (const std::string& word : words) values.push_back(ParseChoice(option, word, choices));
  return values;
}

std::vector<workload::Model> ParseModels(const std::vector<std::string>& names) {
  std::vector<workload::Model> models;
  for (const std::string& name : names) {
    if (name == "all") {
      const auto shapes = bench::DistinctShapes();
      models.insert(models.end(), shapes.begin(), shapes.end());
    } else if (const workload::Model* model = workload::FindModel(name)) {
      models.push_back(*model);
    } else {
      throw InputError("--model", fmt::format("{} is unknown; `ropekv gen --help` lists the models",
                                              Quote(name)));
    }
  }
  return models;
}

// The kernels that have one of each list's values; an empty list excludes none.
std::vector<bench::Variant> ParseVariants(const BenchCommand& command) {
  const auto x = ParseChoices("--x", command.x, kXChoices);
  const auto dtypes = ParseChoices("--dtype", command.dtypes, kDTypeChoices);
  const auto numerics = ParseChoices("--numerics", command.numerics, kNumericsChoices);
  const auto wanted = [](const auto& list, auto value) {
    return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
  };
  std::vector<bench::Variant> variants;
  for (const bench::Variant& variant : bench::Variants()) {
    if (wanted(x, variant.x) && wanted(dtypes, variant.dtype) &&
        wanted(numerics, variant.numerics)) {
      variants.push_back(variant);
    }
  }
  if (variants.empty()) {
    throw InputError("bench", "no kernel is of that --x, --dtype and --numerics: q has x's dtype "
                              "unless x is int32, and with bf16 the two numerics are one");
  }
  return variants;
}

std::vector<bench::Placement> ParsePlacements(const std::vector<std::string>& words) {
  if (words == std::vector<std::string>{"all"}) {
    return {bench::Placement::kContiguous, bench::Placement::kShuffledBlocks,
            bench::Placement::kRandomSlots};
  }
  return ParseChoices("--cache", words, kPlacementChoices);
}

std::vector<int64_t> ParseTokens(const std::vector<std::string>& words) {
  std::vector<int64_t> counts;
  for (const std::string& word : words) counts.push_back(ParseCount("--tokens", word, 1 << 24));
  return counts;
}

std::vector<int> ParseThreads(const std::vector<std::string>& words) {
  std::vector<int> counts;
  for (const std::string& word : words) {
    const int count = word == "all" ? static_cast<int>(std::thread::hardware_concurrency())
                                    : static_cast<int>(ParseCount("--threads", word, 4096));
    // "1,all" on one core.
    if (std::find(counts.begin(), counts.end(), count) == counts.end()) counts.push_back(count);
  }
  return counts;
}

// Each point with each of the values.
template <class T>
std::vector<bench::Point> Cross(const std::vector<bench::Point>& points,
                                T bench::Point::*member, const std::vector<T>& values) {
  std::vector<bench::Point> crossed;
  for (const bench::Point& point : points) {
    for (const T& value : values) {
      crossed.push_back(point);
      crossed.back().*member = value;
    }
  }
  return crossed;
}

std::vector<bench::Point> BenchCommand::Points() const {
  const Result<Target> parsed = ParseTarget(target);
  if (!parsed.ok()) throw InputError("--target", parsed.status().detail());
  const Lists& defaults = quick ? kQuick : full ? kFull : kPlain;
  const auto given = [&](std::vector<std::string> Lists::*list) {
    return (lists.*list).empty() ? defaults.*list : lists.*list;
  };
  using bench::Point;
  std::vector<Point> points(1);
  points.front().target = *parsed;
  points = Cross(points, &Point::model, ParseModels(given(&Lists::models)));
  points = Cross(points, &Point::variant, ParseVariants(*this));
  points = Cross(points, &Point::placement, ParsePlacements(given(&Lists::caches)));
  points = Cross(points, &Point::kv_output,
                 ParseChoices("--kv-output", given(&Lists::kv_outputs), kBoolChoices));
  points = Cross(points, &Point::threads, ParseThreads(given(&Lists::threads)));
  return Cross(points, &Point::tokens, ParseTokens(given(&Lists::tokens)));
}

// One line on the terminal, rewritten for each point and removed at the end.
class Progress {
 public:
  explicit Progress(size_t total) : total_(total), shown_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() { Clear(); }
  void Next(const bench::Point& point) {
    Clear();
    if (shown_) {
      fmt::print(stderr, "[{}/{}{}] {}", count_ + 1, total_, Left(), PointText(point));
    }
    ++count_;
  }
  void Clear() const {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }

 private:
  std::string Left() const {
    const std::chrono::duration<double, std::ratio<60>> so_far = Clock::now() - start_;
    if (count_ == 0) return "";
    const double left = so_far.count() * static_cast<double>(total_ - count_) /
                        static_cast<double>(count_);
    return fmt::format(", {:.0f} min left", left);
  }

  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  size_t total_;
  size_t count_ = 0;
  bool shown_;
};

void BenchCommand::Execute() const {
  const std::vector<bench::Point> points = Points();
  for (const bench::Point& point : points) {
    const Spec spec = bench::SpecOf(point);
    CheckFitsInMemory("bench", spec);
    ThrowIfError(MakePlan(spec).status());
  }
  fmt::print("{}\n", json ? JsonHead() : csv ? CsvHeading() : TableHeading());
  Progress progress(points.size());
  for (const bench::Point& point : points) {
    progress.Next(point);
    const bench::Measurement measurement =
        bench::Measure(point, {.runs = static_cast<int>(runs)});
    progress.Clear();
    const bool last = &point == &points.back();
    fmt::print("{}{}\n", (json ? JsonRow : csv ? CsvRow : TableRow)(measurement),
               json && !last ? "," : "");
    std::fflush(stdout);
  }
  if (json) fmt::print("{}\n", JsonTail());
}

}  // namespace

void AddBench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Time the operator beside a plain copy");
  const auto command = std::make_shared<BenchCommand>();
  const auto list = [bench](const char* name, std::vector<std::string>* values,
                            const std::string& description) {
    bench->add_option(name, *values, description)->delimiter(',')->option_text("LIST");
  };
  list("--model", &command->lists.models, "As for gen; all: one of each shape");
  list("--tokens", &command->lists.tokens, "Tokens of a call");
  list("--x", &command->x, Words(kXChoices));
  list("--dtype", &command->dtypes, Words(kDTypeChoices) + ", of cos, sin and q");
  list("--numerics", &command->numerics, Words(kNumericsChoices));
  list("--cache", &command->lists.caches,
       "contiguous; page: shuffled blocks of 128 tokens; random: shuffled tokens; or all");
  list("--kv-output", &command->lists.kv_outputs, Words(kBoolChoices));
  list("--threads", &command->lists.threads, "Numbers, or all: the machine's");
  CLI::Option* quick = bench->add_flag("--quick", command->quick, "Few points, see below");
  bench->add_flag("--full", command->full, "Every point, see below")->excludes(quick);
  bench->add_option("--target", command->target, "Instruction set; the best unless given")
      ->option_text("NAME");
  AddInteger(*bench, "--runs", &command->runs, 1, 1000, "Of each measurement; 9 unless given");
  CLI::Option* csv = bench->add_flag("--csv", command->csv, "Comma-separated values");
  bench->add_flag("--json", command->json, "One JSON object, with the machine")->excludes(csv);
  bench->footer(kFooter);
  bench->callback([command] { command->Execute(); });
}

}  // namespace ropekv::cli
