// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <system_error>

#include "frontends/cli/case_file.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/file.h"
#include "frontends/cli/options.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(With --strict: at most 4096 values for a token and a multiple of 64 of them, head sizes that
are multiples of 16, offsets for both K and V or for neither, and nothing that the NPU does not
know; docs/numerics.md has the list.

Examples:
  ropekv run decode.safetensors -o out.safetensors
  ropekv run decode.safetensors -o out.safetensors --numerics ascend --threads 1
  ropekv run decode.safetensors -o out.safetensors --target avx2
  ropekv gen --model llama-3-8b -o - | ropekv run - -o out.safetensors)";

struct RunCommand {
  std::string case_path;
  std::string output_path;
  bool strict = false;
  ExecutionOptions execution;

  void Execute() const;
};

void RunCommand::Execute() const {
  CaseFile file(case_path);
  PrintNote(file.note());
  if (AreOneFile(case_path, output_path)) {
    throw InputError("--output", "is the case itself, which would be lost");
  }
  execution.Apply(&file.spec);
  file.spec.strict_device_limits = strict;
  const Plan plan = file.ToPlan();
  const workload::Case loaded = file.Load();
  ThrowIfError(file.path(), Run(plan, loaded.args(), execution.run_options()));
  WriteResult(output_path, loaded,
              fmt::format("{}\nran on {}\n", Describe(plan.spec()), Name(plan.target())));
}

}  // namespace

void AddRun(CLI::App& app) {
  CLI::App* run = app.add_subcommand("run", "Run a case and write its outputs");
  const auto command = std::make_shared<RunCommand>();
  run->add_option("CASE", command->case_path, "Case file, as `ropekv gen` writes them; - for stdin")
      ->required()
      ->option_text("(required)");
  run->add_option("-o,--output", command->output_path,
                  "Result file, see `ropekv --help`; - for stdout")
      ->required()
      ->option_text("FILE (required)");
  command->execution.AddTo(*run);
  run->add_flag("--strict", command->strict, "Refuse what the NPU refuses, see below");
  run->footer(kFooter);
  run->callback([command] { command->Execute(); });
}

}  // namespace ropekv::cli
