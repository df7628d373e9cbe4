// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <system_error>

#include "frontends/cli/case_file.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/file.h"
#include "frontends/cli/options.h"
#include "frontends/cli/verify_report.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(Any two NaNs are equal; -0 and +0 are not. The caches are compared whole, the slots that no
token is written to included: a mismatch there is a stray write.
"of written" is the mismatches' share of the elements that the tokens have written.

The file of --expect may have some of the outputs only; what it lacks is named and not compared.
For the results of other implementations, --max-steps and --max-fraction tolerate differences: of at
most N steps of int8, or N units in the last place of other outputs, and in at most the share F of
the written elements of each output. A NaN on one side only and a stray write are never tolerated.

Exit code: 0 if all elements are equal or within the tolerance, 1 if not, 2 if the input is bad.

Examples:
  ropekv verify decode.safetensors
  ropekv verify decode.safetensors --target scalar --json
  ropekv verify decode.safetensors --numerics ascend --expect npu.safetensors
  ropekv verify decode.safetensors --expect other.safetensors --max-steps 1 --max-fraction 0.001)";

// Further apart than any two values of 32 bits.
constexpr int64_t kMaxSteps = int64_t{1} << 32;

struct VerifyCommand {
  std::string case_path;
  std::string expected_path;  // empty: the reference
  Tolerance tolerance;
  bool json = false;
  ExecutionOptions execution;

  ExitCode Execute() const;
};

ExitCode VerifyCommand::Execute() const {
  const bool with_reference = expected_path.empty();
  if (with_reference && tolerance.given()) {
    throw InputError(tolerance.max_steps >= 0 ? "--max-steps" : "--max-fraction",
                     "needs --expect: the reference is to be met exactly");
  }
  if (AreOneFile(case_path, expected_path)) throw InputError("--expect", "is the case itself");
  CaseFile file(case_path);
  PrintNote(file.note());
  execution.Apply(&file.spec);
  const Plan plan = file.ToPlan();
  const workload::Case loaded = file.Load();
  Comparison comparison;
  comparison.case_path = file.path();
  comparison.tolerance = tolerance;
  workload::Buffers expected;
  if (with_reference) {
    comparison.against = "the reference";
    // Another poison than Allocate's: an element that neither writes is a mismatch.
    expected = workload::CloneOutputs(loaded, 0x5A);
    ThrowIfError(file.path(), RunReference(plan, workload::WithOutputs(loaded.args(), expected)));
  } else {
    StoredResult stored = ReadResult(expected_path, plan.spec());
    expected = std::move(stored.buffers);
    comparison.against = stored.path;
    comparison.not_compared = std::move(stored.missing);
    comparison.ignored = std::move(stored.further);
  }
  ThrowIfError(file.path(), Run(plan, loaded.args(), execution.run_options()));

  comparison.differences = CompareOutputs(loaded, expected);
  if (comparison.elements() == 0) {
    if (comparison.not_compared.empty()) {
      throw InputError(file.path(), "nothing to verify: every output is empty");
    }
    throw InputError(comparison.against, "nothing to verify: it has none of the case's outputs");
  }
  if (json) {
    PrintJson(plan, comparison);
  } else {
    PrintTable(plan, comparison);
  }
  return comparison.passed() ? kSuccess : kMismatch;
}

// A share from 0 to 1. CLI11's own checks say neither the option nor the range.
void AddFraction(CLI::App& app, const std::string& name, double* value,
                 const std::string& description) {
  const auto check = [](const std::string& text) {
    double parsed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    const bool legal =
        error == std::errc() && end == text.data() + text.size() && parsed >= 0 && parsed <= 1;
    return legal ? std::string() : fmt::format("{} is not a number from 0 to 1", Quote(text));
  };
  app.add_option(name, *value, description)->check(check)->option_text("F");
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
  AddInteger(*verify, "--max-steps", &command->tolerance.max_steps, 0, kMaxSteps,
             "With --expect, tolerate differences of N steps, see below");
  AddFraction(*verify, "--max-fraction", &command->tolerance.max_fraction,
              "With --expect, tolerate differences in a share of the elements");
  verify->add_flag("--json", command->json, "Print the comparison as JSON");
  command->execution.AddTo(*verify);
  verify->footer(kFooter);
  verify->callback([command, exit_code] { *exit_code = command->Execute(); });
}

}  // namespace ropekv::cli
