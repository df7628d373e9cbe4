// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/bench_points.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

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

// Each point with each of the values; `set` gives a point a value. An empty list changes nothing.
template <class T, class Set>
std::vector<bench::Point> Cross(const std::vector<bench::Point>& points,
                                const std::vector<T>& values, const Set& set) {
  if (values.empty()) return points;
  std::vector<bench::Point> crossed;
  for (const bench::Point& point : points) {
    for (const T& value : values) {
      crossed.push_back(point);
      set(crossed.back(), value);
    }
  }
  return crossed;
}

template <class T>
std::vector<bench::Point> Cross(const std::vector<bench::Point>& points, T bench::Point::*member,
                                const std::vector<T>& values) {
  return Cross(points, values, [member](bench::Point& point, const T& v) { point.*member = v; });
}

void Check(const bench::Point& point) {
  if (point.cache_dtype != DType::kI8 && point.scales != workload::Scales::kChannel) {
    throw InputError("--scales", fmt::format("a cache of {} has none", Name(point.cache_dtype)));
  }
  const Spec spec = bench::SpecOf(point);
  CheckFitsInMemory("bench", spec);
  ThrowIfError(MakePlan(spec).status());
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
  list("--rotary-dim", &rotary_dims_, "Channels of a head that turn; the model's unless given");
  list("--rotary-style", &rotary_styles_, cli::Words(kStyleChoices) + "; the model's unless given");
  list("--angles", &angles_, cli::Words(kAnglesChoices) + ": dtype of cos and sin; q: as q");
  list("--positions", &positions_, cli::Words(kBoolChoices) + ": cos and sin by positions");
  list("--packed", &packed_, cli::Words(kBoolChoices) + ": cos and sin in one tensor");
  list("--half-width", &half_widths_, cli::Words(kBoolChoices) + ": cos, sin with an entry a pair");
  list("--index-dtype", &index_dtypes_, cli::Words(kIndexChoices));
  list("--cache-dtype", &cache_dtypes_, cli::Words(kCacheDTypeChoices));
  list("--scales", &scales_, cli::Words(kScalesChoices) + ": what has a scale");
  list("--layout", &orders_, cli::Words(kOrderChoices) + ", see below");
  list("--sliced", &sliced_, cli::Words(kBoolChoices) + ": q, k, v are slices of longer rows");
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

// Those that have one of each list's values; an empty list excludes none, but for f32 outputs,
// which must be asked for.
std::vector<bench::Variant> PointOptions::Variants() const {
  const auto x = ParseChoices("--x", x_, kXChoices);
  const auto dtypes = ParseChoices("--dtype", dtypes_, kDTypeChoices);
  const auto numerics = ParseChoices("--numerics", numerics_, kNumericsChoices);
  const auto has = [](const auto& list, auto value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  const auto wanted = [&](const auto& list, auto value) {
    return list.empty() || has(list, value);
  };
  std::vector<bench::Variant> variants;
  for (const bench::Variant& variant : bench::Variants()) {
    const bool asked = variant.dtype != DType::kF32 || has(x, DType::kF32) || !dtypes.empty();
    if (asked && wanted(x, variant.x) && wanted(dtypes, variant.dtype) &&
        wanted(numerics, variant.numerics)) {
      variants.push_back(variant);
    }
  }
  if (variants.empty()) {
    throw InputError("bench",
                     "no kernel is of that --x, --dtype and --numerics: q has x's dtype "
                     "unless x is i32, and ascend is for f16 alone");
  }
  return variants;
}

std::vector<bench::Point> PointOptions::WithFeatures(std::vector<bench::Point> points) const {
  using bench::Point;
  const auto dims = ParseEach(rotary_dims_, [](const std::string& word) {
    return ParseCount("--rotary-dim", word, 1 << 20);
  });
  points = Cross(points, dims, [](Point& p, int64_t dim) { p.model.rotation.dim = dim; });
  points = Cross(points, ParseChoices("--rotary-style", rotary_styles_, kStyleChoices),
                 [](Point& p, RotaryStyle style) { p.model.rotation.style = style; });
  points = Cross(points, &Point::angles, ParseChoices("--angles", angles_, kAnglesChoices));
  const auto flags = [&](bool Point::*member, std::string_view option, const Words& words) {
    points = Cross(points, member, ParseChoices(option, words, kBoolChoices));
  };
  flags(&Point::positions, "--positions", positions_);
  flags(&Point::packed, "--packed", packed_);
  flags(&Point::half_width, "--half-width", half_widths_);
  points = Cross(points, &Point::index_dtype,
                 ParseChoices("--index-dtype", index_dtypes_, kIndexChoices));
  points = Cross(points, &Point::cache_dtype,
                 ParseChoices("--cache-dtype", cache_dtypes_, kCacheDTypeChoices));
  points = Cross(points, &Point::scales, ParseChoices("--scales", scales_, kScalesChoices));
  points = Cross(points, ParseChoices("--layout", orders_, kOrderChoices),
                 [](Point& p, bench::CacheOrder order) { p.layout.caches = order; });
  return Cross(points, ParseChoices("--sliced", sliced_, kBoolChoices),
               [](Point& p, bool sliced) { p.layout.sliced = sliced; });
}

std::vector<bench::Point> PointOptions::Points() const {
  using bench::Point;
  const Result<Target> target = ParseTarget(target_);
  if (!target.ok()) throw InputError("--target", target.status().detail());
  std::vector<Point> points(1);
  points.front().target = *target;
  points = Cross(points, &Point::model, ParseModels(ListOrDefault(&Lists::models)));
  points = Cross(points, &Point::variant, Variants());
  points = WithFeatures(std::move(points));
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
  for (const Point& point : points) Check(point);
  return points;
}

}  // namespace ropekv::cli
