// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

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

Examples:
  ropekv bench
  ropekv bench --model llama-3-8b,phi-3-mini --tokens 1,4096 --x int32,bf16 --threads 1,all
  ropekv bench --model all --tokens 256 --json > shapes.json)";

struct DTypes {
  DType x;
  DType dtype;
};

constexpr Choice<DType> kXChoices[] = {
    {"int32", DType::kI32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}};
constexpr Choice<DType> kDTypeChoices[] = {{"f16", DType::kF16}, {"bf16", DType::kBF16}};

struct BenchCommand {
  std::vector<std::string> models{"llama-3-8b"};
  std::vector<std::string> tokens{"1", "16", "256", "4096"};
  std::vector<std::string> x{"int32", "f16", "bf16"};
  std::vector<std::string> dtypes;
  std::vector<std::string> numerics{"float32"};
  std::vector<std::string> caches{"page"};
  std::vector<std::string> kv_outputs{"false"};
  std::vector<std::string> threads{"1"};
  std::string target = "best";
  int64_t runs = 9;
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

std::vector<workload::Model> ParseModels(const std::vector<std::string>& names) {
  std::vector<workload::Model> models;
  for (const std::string& name : names) {
    if (name == "all") {
      models.assign(workload::Models().begin(), workload::Models().end());
    } else if (const workload::Model* model = workload::FindModel(name)) {
      models.push_back(*model);
    } else {
      throw InputError("--model", fmt::format("{} is unknown; `ropekv gen --help` lists the models",
                                              Quote(name)));
    }
  }
  return models;
}

// 16-bit x has its own dtype throughout; int32 goes with each dtype asked for, f16 by default.
std::vector<DTypes> ParseDTypes(const BenchCommand& command) {
  std::vector<DTypes> pairs;
  for (const std::string& x_word : command.x) {
    const DType x = ParseChoice("--x", x_word, kXChoices);
    if (x != DType::kI32) {
      pairs.push_back({x, x});
      continue;
    }
    if (command.dtypes.empty()) pairs.push_back({x, DType::kF16});
    for (const std::string& word : command.dtypes) {
      pairs.push_back({x, ParseChoice("--dtype", word, kDTypeChoices)});
    }
  }
  return pairs;
}

std::vector<bench::Point> BenchCommand::Points() const {
  const Result<Target> parsed = ParseTarget(target);
  if (!parsed.ok()) throw InputError("--target", parsed.status().detail());
  std::vector<bench::Point> points;
  for (const workload::Model& model : ParseModels(models)) {
    for (const DTypes& pair : ParseDTypes(*this)) {
      for (const std::string& numerics_word : numerics) {
        for (const std::string& cache_word : caches) {
          for (const std::string& kv_word : kv_outputs) {
            for (const std::string& thread_word : threads) {
              for (const std::string& token_word : tokens) {
                points.push_back(
                    {.model = model,
                     .tokens = ParseCount("--tokens", token_word, 1 << 24),
                     .x = pair.x,
                     .dtype = pair.dtype,
                     .numerics = ParseChoice("--numerics", numerics_word, kNumericsChoices),
                     .cache = ParseChoice("--cache", cache_word, kCacheChoices),
                     .kv_output = ParseChoice("--kv-output", kv_word, kBoolChoices),
                     .threads = thread_word == "all"
                                    ? static_cast<int>(std::thread::hardware_concurrency())
                                    : static_cast<int>(ParseCount("--threads", thread_word, 4096)),
                     .target = *parsed});
              }
            }
          }
        }
      }
    }
  }
  return points;
}

// One line on the terminal, rewritten for each point and removed at the end.
class Progress {
 public:
  explicit Progress(size_t total) : total_(total), shown_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() { Clear(); }
  void Next(const bench::Point& point) {
    Clear();
    if (shown_) fmt::print(stderr, "[{}/{}] {}", ++count_, total_, PointText(point));
  }
  void Clear() const {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }

 private:
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
  if (!json) fmt::print("{}\n", csv ? CsvHeading() : TableHeading());
  std::vector<bench::Measurement> measurements;
  Progress progress(points.size());
  for (const bench::Point& point : points) {
    progress.Next(point);
    measurements.push_back(bench::Measure(point, {.runs = static_cast<int>(runs)}));
    progress.Clear();
    if (!json) fmt::print("{}\n", (csv ? CsvRow : TableRow)(measurements.back()));
    std::fflush(stdout);
  }
  if (json) fmt::print("{}\n", JsonReport(measurements));
}

}  // namespace

void AddBench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Time the operator beside a plain copy");
  const auto command = std::make_shared<BenchCommand>();
  const auto list = [bench](const char* name, std::vector<std::string>* values,
                            const std::string& description) {
    bench->add_option(name, *values, description)->delimiter(',')->option_text("LIST");
  };
  list("--model", &command->models, "As for gen, or all; llama-3-8b unless given");
  list("--tokens", &command->tokens, "Tokens of a call; 1,16,256,4096 unless given");
  list("--x", &command->x, Words(kXChoices) + "; all three unless given");
  list("--dtype", &command->dtypes, Words(kDTypeChoices) + ", with int32; f16 unless given");
  list("--numerics", &command->numerics, Words(kNumericsChoices) + "; float32 unless given");
  list("--cache", &command->caches, Words(kCacheChoices) + "; page unless given");
  list("--kv-output", &command->kv_outputs, Words(kBoolChoices) + "; false unless given");
  list("--threads", &command->threads, "Numbers, or all; 1 unless given");
  bench->add_option("--target", command->target, "Instruction set; the best unless given")
      ->option_text("NAME");
  AddInteger(*bench, "--runs", &command->runs, 1, 1000, "Of each measurement; 9 unless given");
  CLI::Option* csv = bench->add_flag("--csv", command->csv, "Comma-separated values");
  bench->add_flag("--json", command->json, "One JSON object, with the machine")->excludes(csv);
  bench->footer(kFooter);
  bench->callback([command] { command->Execute(); });
}

}  // namespace ropekv::cli
