// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/verify_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "frontends/cli/choices.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/options.h"
#include "frontends/cli/safetensors.h"

namespace ropekv::cli {
namespace {

using nlohmann::ordered_json;

const char* Unit(const Difference& difference) {
  return difference.tensor.dtype == DType::kI8 ? "step" : "ulp";
}

std::string LargestText(const Difference& difference) {
  if (difference.nan_mismatches > 0) return "nan";
  const bool plural = difference.tensor.dtype == DType::kI8 && difference.largest != 1;
  return fmt::format("{} {}{}", difference.largest, Unit(difference), plural ? "s" : "");
}

std::string PlaceText(const Mismatch& mismatch) {
  return fmt::format(
      "{}, {}, head {}, channel {}", ShapeText(mismatch.index),
      mismatch.token ? fmt::format("token {}", *mismatch.token) : "a slot of no token",
      mismatch.head(), mismatch.channel());
}

// The names come from a file.
std::string QuoteEach(const std::vector<std::string>& names) {
  std::vector<std::string> quoted;
  quoted.reserve(names.size());
  for (const std::string& name : names) quoted.push_back(Quote(name));
  return fmt::format("{}", fmt::join(quoted, ", "));
}

ordered_json ToJson(const Mismatch& mismatch) {
  ordered_json json = {{"index", mismatch.index},   {"token", nullptr},
                       {"head", mismatch.head()},   {"channel", mismatch.channel()},
                       {"actual", mismatch.actual}, {"expected", mismatch.expected}};
  if (mismatch.token) json["token"] = *mismatch.token;
  return json;
}

ordered_json ToJson(const Difference& difference, const Tolerance& tolerance) {
  const TensorSpec& tensor = difference.tensor;
  ordered_json json = {
      {"name", difference.name},
      {"dtype", Name(tensor.dtype)},
      {"shape", std::span(tensor.shape).first(tensor.rank)},
      {"elements", difference.elements},
      {"written", difference.written},
      {"mismatches", difference.mismatches},
      {"nan_mismatches", difference.nan_mismatches},
      {"stray_mismatches", difference.stray_mismatches},
      {"fraction", difference.fraction()},
      {"fraction_of_written", difference.fraction_of_written()},
      {"largest_difference", difference.largest},
      {"unit", Unit(difference)},
      {"passed", tolerance.Allows(difference)},
      {"first_mismatches", ordered_json::array()},
  };
  for (const Mismatch& mismatch : difference.first) {
    json["first_mismatches"].push_back(ToJson(mismatch));
  }
  return json;
}

}  // namespace

int64_t Comparison::elements() const {
  int64_t sum = 0;
  for (const Difference& difference : differences) sum += difference.elements;
  return sum;
}

int64_t Comparison::mismatches() const {
  int64_t sum = 0;
  for (const Difference& difference : differences) sum += difference.mismatches;
  return sum;
}

bool Comparison::passed() const {
  return std::all_of(differences.begin(), differences.end(),
                     [this](const Difference& difference) { return tolerance.Allows(difference); });
}

void PrintTable(const Plan& plan, const Comparison& comparison) {
  fmt::print("{}\n{} against {}\n\n", Describe(plan.spec()), Name(plan.target()),
             comparison.against);
  fmt::print("{:<8}{:>13}{:>13}{:>12}{:>11}{:>13}{:>21}\n", "output", "elements", "written",
             "mismatches", "fraction", "of written", "largest difference");
  for (const Difference& difference : comparison.differences) {
    fmt::print("{:<8}{:>13}{:>13}{:>12}{:>11.3g}{:>13.3g}{:>21}\n", difference.name,
               difference.elements, difference.written, difference.mismatches,
               difference.fraction(), difference.fraction_of_written(), LargestText(difference));
  }
  fmt::print("\n");
  for (const Difference& difference : comparison.differences) {
    for (const Mismatch& mismatch : difference.first) {
      fmt::print("{}: mismatch at {}: {}, expected {}\n", difference.name, PlaceText(mismatch),
                 mismatch.actual, mismatch.expected);
    }
    if (difference.stray_mismatches > 0) {
      fmt::print("{}: {} of its mismatches are in slots that no token is written to\n",
                 difference.name, difference.stray_mismatches);
    }
  }
  if (!comparison.not_compared.empty()) {
    fmt::print("not compared, since {} lacks them: {}\n", comparison.against,
               fmt::join(comparison.not_compared, ", "));
  }
  if (!comparison.ignored.empty()) {
    fmt::print("ignored, since no output: {}\n", QuoteEach(comparison.ignored));
  }
  if (plan.num_tokens() == 0) {
    fmt::print("no tokens: only the caches, which must stay as they were, have been compared\n");
  }
  const int64_t mismatches = comparison.mismatches();
  if (mismatches == 0) {
    fmt::print("equal: all {} elements\n", comparison.elements());
  } else {
    fmt::print("{}: {} of {} elements\n", comparison.passed() ? "WITHIN TOLERANCE" : "MISMATCH",
               mismatches, comparison.elements());
  }
}

// One line for each member and each output: an indented dump would give each extent a line.
void PrintJson(const Plan& plan, const Comparison& comparison) {
  const auto limit = [](auto value) { return value < 0 ? ordered_json() : ordered_json(value); };
  const ordered_json summary = {
      {"case", comparison.case_path},
      {"against", comparison.against},
      {"target", Name(plan.target())},
      {"numerics", WordFor(plan.spec().numerics, kNumericsChoices)},
      {"tokens", plan.num_tokens()},
      {"max_steps", limit(comparison.tolerance.max_steps)},
      {"max_fraction", limit(comparison.tolerance.max_fraction)},
      {"equal", comparison.mismatches() == 0},
      {"passed", comparison.passed()},
      {"elements", comparison.elements()},
      {"mismatches", comparison.mismatches()},
      {"not_compared", comparison.not_compared},
      {"ignored", comparison.ignored},
  };
  fmt::print("{{\n");
  for (const auto& [key, value] : summary.items()) {
    // A path need not be UTF-8.
    fmt::print("  \"{}\": {},\n", key,
               value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  fmt::print("  \"outputs\": [\n");
  for (const Difference& difference : comparison.differences) {
    fmt::print("    {}{}\n", ToJson(difference, comparison.tolerance).dump(),
               &difference == &comparison.differences.back() ? "" : ",");
  }
  fmt::print("  ]\n}}\n");
}

}  // namespace ropekv::cli
