// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "frontends/cli/commands.h"
#include "frontends/cli/descriptor.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/file.h"
#include "ropekv/ropekv.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(A case is a safetensors file with the tensors x, cos, sin, k_cache, v_cache, indices, with i8
caches scale_k, scale_v, and optionally positions, offset_k, offset_v, weight_scale,
activation_scale, bias. In place of cos and sin it may have cos_sin, whose rows are those of cos
followed by those of sin. docs/numerics.md has the shapes.
Its metadata are size_splits ("1024,128,128") and optionally cache_mode (contiguous or page),
rotary_dim (all of a head), rotary_style (half or interleaved), kv_output (false or true), dtype
(of the outputs of an i32 x; that of cos), numerics (float32 or ascend), quant_mode (static) and
layout (BSND). indices and positions may be i64. A scale may be [1], for all.
What else a case has is not used, and a note on stderr names it.
A result has q, k_cache and v_cache, and k and v if kv_output is true.

For FILE and CASE, "-" is stdout or stdin. From a pipe, a case takes as much memory as from a
file: its tensors, and a header of at most 100 MB.

Dtypes are i8, i32, i64, f16, bf16 and f32; options also take int8, int32, int64, float16, bfloat16
and float32.

Exit code: 0 if all is well, 1 if a comparison found a mismatch, 2 if the command line or a
file is bad; then one line on stderr says why, and nothing has been written.

Examples:
  ropekv gen --model llama-3-8b --batch 32 --x i32 --cache page -o case.safetensors
  ropekv run case.safetensors -o out.safetensors
  ropekv verify case.safetensors --expect out.safetensors)";

// "culprit: detail" for what CLI11 says in sentences.
std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error) {
  const auto chosen = app.get_subcommands();
  const std::string see = fmt::format("see `ropekv{}{} --help`", chosen.empty() ? "" : " ",
                                      chosen.empty() ? "" : chosen.front()->get_name());
  const std::vector<std::string> extra = app.remaining(true);
  if (!extra.empty()) {
    return fmt::format(
        "{}: not {}; {}", extra.front(),
        chosen.empty() ? "a subcommand" : "an argument of " + chosen.front()->get_name(), see);
  }
  std::string what = error.what();
  const std::string name = what.substr(0, what.find_first_of(" :"));
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    return fmt::format("{}: required; {}", chosen.empty() ? "a subcommand" : name, see);
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const bool repeated = what.find("At Most") != what.npos;
    return fmt::format("{}: {}; {}", name, repeated ? "given twice" : "needs a value", see);
  }
  return what;
}

// One line, whatever is in a path or an argument. Not by fmt::print: see PrintNote.
ExitCode Refuse(const std::string& message) {
  std::fputs(fmt::format("ropekv: {}\n", Escape(message)).c_str(), stderr);
  return kBadInput;
}

// The first empty argument or empty value of an option; 0 if there is none. An unset variable in a
// script must not read as an option that was not given.
int FindEmptyArgument(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.empty() || (argument.starts_with("--") && argument.ends_with('='))) return i;
  }
  return 0;
}

ExitCode ParseAndExecute(int argc, char** argv) {
  CLI::App app("Dequantise, split, rotate and quantise a packed QKV projection into a KV cache.",
               "ropekv");
  app.get_formatter()->column_width(32);
  app.set_version_flag("--version", Version());
  app.require_subcommand(1);
  app.footer(kFooter);
  ExitCode exit_code = kSuccess;
  AddRun(app);
  AddVerify(app, &exit_code);
  AddGen(app);
  AddInfo(app);
  AddBench(app);
  if (const int empty = FindEmptyArgument(argc, argv); empty > 0) {
    return Refuse(fmt::format("argument {}: is empty; see `ropekv --help`", empty));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return Refuse(UsageMessage(app, error));
  }
  return exit_code;
}

// Where an exception cannot go on: destructors of the JSON library allocate, and cannot say that
// there is no memory.
[[noreturn]] void Terminate() {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    RemoveTemporary();
    std::fputs("ropekv: memory: not enough of it\n", stderr);
    _exit(kBadInput);
  } catch (...) {
  }
  std::abort();
}

int Main(int argc, char** argv) {
  std::set_terminate(Terminate);
  // A file size limit then gives a failed write, which cleans up, instead of death.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    ReserveStandardDescriptors();
    const ExitCode exit_code = ParseAndExecute(argc, argv);
    FlushStdout();
    return exit_code;
  } catch (const InputError& error) {
    return Refuse(error.what());
  } catch (const std::bad_alloc&) {
    return Refuse("memory: not enough of it");
  } catch (const std::system_error& error) {
    // fmt::print's, when stdout takes no more.
    return Refuse("stdout: " + error.code().message());
  }
}

}  // namespace
}  // namespace ropekv::cli

int main(int argc, char** argv) { return ropekv::cli::Main(argc, argv); }
