// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "frontends/cli/case_file.h"
#include "frontends/cli/choices.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/compare.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/file.h"
#include "frontends/cli/options.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(Any two NaNs are equal; -0 and +0 are not. The caches are compared whole, the slots that no
token is written to included: a mismatch there is a stray write.
"of written" is the mismatches' share of the elements that the tokens have written.

Exit code: 0 if all elements are equal, 1 if not, 2 if the input is bad.

Examples:
  ropekv verify decode.safetensors
  ropekv verify decode.safetensors --target scalar --json
  ropekv verify decode.safetensors --numerics ascend --expect npu.safetensors)";

struct VerifyCommand {
  std::string case_path;
  std::string expected_path;  // empty: the reference
  bool json = false;
  ExecutionOptions execution;

  ExitCode Execute() const;
};

struct Totals {
  int64_t elements = 0;
  int64_t mismatches = 0;
};

Totals Sum(const std::vector<Difference>& differences) {
  Totals totals;
  for (const Difference& difference : differences) {
    totals.elements += difference.elements;
    totals.mismatches += difference.mismatches;
  }
  return totals;
}

const char* Unit(const Difference& difference) {
  return difference.tensor.dtype == DType::kI8 ? "step" : "ulp";
}

std::string LargestText(const Difference& difference) {
  if (difference.nan_mismatches > 0) return "nan";
  const bool plural = difference.tensor.dtype == DType::kI8 && difference.largest != 1;
  return fmt::format("{} {}{}", difference.largest, Unit(difference), plural ? "s" : "");
}

void PrintTable(const Plan& plan, const std::string& against,
                const std::vector<Difference>& differences, const Totals& totals) {
  fmt::print("{}\n{} against {}\n\n", Describe(plan.spec()), Name(plan.target()), against);
  fmt::print("{:<8}{:>13}{:>13}{:>12}{:>11}{:>13}{:>21}\n", "output", "elements", "written",
             "mismatches", "fraction", "of written", "largest difference");
  for (const Difference& difference : differences) {
    fmt::print("{:<8}{:>13}{:>13}{:>12}{:>11.3g}{:>13.3g}{:>21}\n", difference.name,
               difference.elements, difference.written, difference.mismatches,
               difference.fraction(), difference.fraction_of_written(), LargestText(difference));
  }
  fmt::print("\n");
  for (const Difference& difference : differences) {
    if (difference.mismatches == 0) continue;
    fmt::print("{}: first mismatch at {}: {}, expected {}\n", difference.name,
               ShapeText(difference.index), difference.actual, difference.expected);
  }
  if (plan.num_tokens() == 0) {
    fmt::print("no tokens: only the caches, which must stay as they were, have been compared\n");
  }
  if (totals.mismatches == 0) {
    fmt::print("equal: all {} elements\n", totals.elements);
  } else {
    fmt::print("MISMATCH: {} of {} elements\n", totals.mismatches, totals.elements);
  }
}

nlohmann::ordered_json ToJson(const Difference& difference) {
  const TensorSpec& tensor = difference.tensor;
  nlohmann::ordered_json json = {
      {"name", difference.name},
      {"dtype", Name(tensor.dtype)},
      {"shape", std::span(tensor.shape).first(tensor.rank)},
      {"elements", difference.elements},
      {"written", difference.written},
      {"mismatches", difference.mismatches},
      {"nan_mismatches", difference.nan_mismatches},
      {"fraction", difference.fraction()},
      {"fraction_of_written", difference.fraction_of_written()},
      {"largest_difference", difference.largest},
      {"unit", Unit(difference)},
      {"first_mismatch", nullptr},
  };
  if (difference.mismatches > 0) {
    json["first_mismatch"] = {{"index", difference.index},
                              {"actual", difference.actual},
                              {"expected", difference.expected}};
  }
  return json;
}

// One line for each member and each output: an indented dump would give each extent a line.
void PrintJson(const Plan& plan, const std::string& case_path, const std::string& against,
               const std::vector<Difference>& differences, const Totals& totals) {
  const nlohmann::ordered_json summary = {
      {"case", case_path},
      {"against", against},
      {"target", Name(plan.target())},
      {"numerics", WordFor(plan.spec().numerics, kNumericsChoices)},
      {"tokens", plan.num_tokens()},
      {"equal", totals.mismatches == 0},
      {"elements", totals.elements},
      {"mismatches", totals.mismatches},
  };
  fmt::print("{{\n");
  for (const auto& [key, value] : summary.items()) {
    // A path need not be UTF-8.
    fmt::print("  \"{}\": {},\n", key,
               value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  fmt::print("  \"outputs\": [\n");
  for (const Difference& difference : differences) {
    fmt::print("    {}{}\n", ToJson(difference).dump(),
               &difference == &differences.back() ? "" : ",");
  }
  fmt::print("  ]\n}}\n");
}

ExitCode VerifyCommand::Execute() const {
  if (AreOneFile(case_path, expected_path)) throw InputError("--expect", "is the case itself");
  CaseFile file(case_path);
  PrintNote(file.note());
  execution.Apply(&file.spec);
  const Plan plan = file.ToPlan();
  const workload::Case loaded = file.Load();
  const bool with_reference = expected_path.empty();
  workload::Buffers expected;
  if (with_reference) {
    // Another poison than Allocate's: an element that neither writes is a mismatch.
    expected = workload::CloneOutputs(loaded, 0x5A);
    ThrowIfError(file.path(), RunReference(plan, workload::WithOutputs(loaded.args(), expected)));
  } else {
    expected = ReadResult(expected_path, plan.spec());
  }
  ThrowIfError(file.path(), Run(plan, loaded.args(), execution.run_options()));

  const std::vector<Difference> differences = CompareOutputs(loaded, expected);
  const Totals totals = Sum(differences);
  if (totals.elements == 0) {
    throw InputError(case_path, "nothing to verify: every output is empty");
  }
  const std::string against = with_reference ? "the reference" : expected_path;
  if (json) {
    PrintJson(plan, case_path, against, differences, totals);
  } else {
    PrintTable(plan, against, differences, totals);
  }
  return totals.mismatches == 0 ? kSuccess : kMismatch;
}

}  // namespace

void AddVerify(CLI::App& app, ExitCode* exit_code) {
  CLI::App* verify = app.add_subcommand(
      "verify", "Run a case and compare all outputs with the reference or a file");
  const auto command = std::make_shared<VerifyCommand>();
  verify
      ->add_option("CASE", command->case_path,
                   "Case file, as `ropekv gen` writes them; - for stdin")
      ->required()
      ->option_text("(required)");
  verify
      ->add_option("--expect", command->expected_path,
                   "Compare with this result file instead of the reference")
      ->option_text("FILE");
  verify->add_flag("--json", command->json, "Print the comparison as JSON");
  command->execution.AddTo(*verify);
  verify->footer(kFooter);
  verify->callback([command, exit_code] { *exit_code = command->Execute(); });
}

}  // namespace ropekv::cli
