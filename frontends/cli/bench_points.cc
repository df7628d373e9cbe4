// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/bench_points.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "frontends/cli/case_file.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/machine.h"

namespace ropekv::cli {
namespace {

const std::vector<std::string> kAllTokens{"1", "4", "16", "64", "256", "1024", "4096", "16384"};

int64_t ParseCount(std::string_view option, const std::string& text, int64_t high) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > high) {
    throw InputError(option, fmt::format("{} is not an integer from 1 to {}", Quote(text), high));
  }
  return value;
}

// What `parse` makes of each word, each once: "1,all" may be the same twice.
template <class Parse>
auto ParseEach(const std::vector<std::string>& words, const Parse& parse) {
  std::vector<decltype(parse(words.front()))> values;
  for (const std::string& word : words) {
    const auto value = parse(word);
    if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
  }
  return values;
}

template <class T, size_t n>
std::vector<T> ParseChoices(std::string_view option, const std::vector<std::string>& words,
                            const Choice<T> (&choices)[n]) {
  std::vector<T> all;
  for (const Choice<T>& choice : choices) all.push_back(choice.value);
  if (words == std::vector<std::string>{"all"}) return all;
  return ParseEach(words,
                   [&](const std::string& word) { return ParseChoice(option, word, choices); });
}

std::vector<workload::Model> ParseModels(const std::vector<std::string>& names) {
  if (names == std::vector<std::string>{"all"}) return bench::DistinctShapes();
  std::vector<workload::Model> models;
  for (const std::string& name : names) {
    const workload::Model* model = workload::FindModel(name);
    if (model == nullptr) {
      throw InputError("--model", fmt::format("{} is unknown; `ropekv gen --help` lists the models",
                                              Quote(name)));
    }
    models.push_back(*model);
  }
  return models;
}

// Each point with each of the values.
template <class T>
std::vector<bench::Point> Cross(const std::vector<bench::Point>& points, T bench::Point::*member,
                                const std::vector<T>& values) {
  std::vector<bench::Point> crossed;
  for (const bench::Point& point : points) {
    for (const T& value : values) {
      crossed.push_back(point);
      crossed.back().*member = value;
    }
  }
  return crossed;
}

}  // namespace

const PointOptions::Lists PointOptions::kPlain{{"llama-3-8b"}, kAllTokens, {"page"},
                                               {"false"},      {"false"},  {"1", "all"}};
const PointOptions::Lists PointOptions::kQuick{{"llama-3-8b", "llama-3-70b-tp8"},
                                               {"1", "16", "256", "4096"},
                                               {"page"},
                                               {"false"},
                                               {"false"},
                                               {"1"}};
const PointOptions::Lists PointOptions::kFull{{"all"}, kAllTokens, {"all"},
                                              {"all"}, {"all"},    {"1", "all"}};

void PointOptions::AddTo(CLI::App& app) {
  const auto list = [&app](const char* name, Words* values, const std::string& description) {
    app.add_option(name, *values, description)->delimiter(',')->option_text("LIST");
  };
  list("--model", &lists_.models, "As for gen; all: one of each shape");
  list("--tokens", &lists_.tokens, "Tokens of a call");
  list("--x", &x_, cli::Words(kXChoices));
  list("--dtype", &dtypes_, cli::Words(kDTypeChoices) + ", of cos, sin and q");
  list("--numerics", &numerics_, cli::Words(kNumericsChoices));
  list("--cache", &lists_.caches, cli::Words(kPlacementChoices) + ", see below, or all");
  list("--kv-output", &lists_.kv_outputs, cli::Words(kBoolChoices) + ", or all: both");
  list("--bound", &lists_.bounds,
       cli::Words(kBoolChoices) + ", or all: both; whether weights are bound to the plan");
  list("--threads", &lists_.threads, "Numbers, or all: as `ropekv info` counts");
  CLI::Option* quick = app.add_flag("--quick", quick_, "Few points, see below");
  app.add_flag("--full", full_, "Every point, see below")->excludes(quick);
  app.add_option("--target", target_, "Instruction set; the best unless given")
      ->option_text("NAME");
}

const PointOptions::Words& PointOptions::ListOrDefault(Words Lists::*list) const {
  if (!(lists_.*list).empty()) return lists_.*list;
  return (quick_ ? kQuick : full_ ? kFull : kPlain).*list;
}

// The kernels that have one of each list's values; an empty list excludes none.
std::vector<bench::Variant> PointOptions::Variants() const {
  const auto x = ParseChoices("--x", x_, kXChoices);
  const auto dtypes = ParseChoices("--dtype", dtypes_, kDTypeChoices);
  const auto numerics = ParseChoices("--numerics", numerics_, kNumericsChoices);
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
    throw InputError("bench",
                     "no kernel is of that --x, --dtype and --numerics: q has x's dtype "
                     "unless x is i32, and with bf16 the two numerics are one");
  }
  return variants;
}

std::vector<bench::Point> PointOptions::Points() const {
  using bench::Point;
  const Result<Target> target = ParseTarget(target_);
  if (!target.ok()) throw InputError("--target", target.status().detail());
  std::vector<Point> points(1);
  points.front().target = *target;
  points = Cross(points, &Point::model, ParseModels(ListOrDefault(&Lists::models)));
  points = Cross(points, &Point::variant, Variants());
  points = Cross(points, &Point::placement,
                 ParseChoices("--cache", ListOrDefault(&Lists::caches), kPlacementChoices));
  points = Cross(points, &Point::kv_output,
                 ParseChoices("--kv-output", ListOrDefault(&Lists::kv_outputs), kBoolChoices));
  points = Cross(points, &Point::bound,
                 ParseChoices("--bound", ListOrDefault(&Lists::bounds), kBoolChoices));
  points = Cross(points, &Point::threads,
                 ParseEach(ListOrDefault(&Lists::threads), [](const std::string& word) {
                   return word == "all" ? MaxThreads()
                                        : static_cast<int>(ParseCount("--threads", word, 4096));
                 }));
  points = Cross(points, &Point::tokens,
                 ParseEach(ListOrDefault(&Lists::tokens), [](const std::string& word) {
                   return ParseCount("--tokens", word, 1 << 24);
                 }));
  for (const Point& point : points) {
    const Spec spec = bench::SpecOf(point);
    CheckFitsInMemory("bench", spec);
    ThrowIfError(MakePlan(spec).status());
  }
  return points;
}

}  // namespace ropekv::cli
