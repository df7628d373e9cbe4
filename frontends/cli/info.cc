// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdlib>

#include "frontends/cli/commands.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/machine.h"
#include "frontends/cli/options.h"
#include "workload/generate.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(The environment variable ROPEKV_TARGET forces a target where no --target is given.

Examples:
  ropekv info
  ROPEKV_TARGET=scalar ropekv info)";

std::string TargetNames(std::span<const Target> targets) {
  std::string names;
  for (Target target : targets)
    names += fmt::format("{}{}", names.empty() ? "" : " ", Name(target));
  return names;
}

// What a plan that leaves the choice open runs on.
Target ChosenTarget() { return ValueOrThrow(MakePlan(workload::MakeSpec({}))).target(); }

std::string SizeText(int64_t bytes) {
  if (bytes <= 0) return "unknown";
  constexpr int64_t kMebi = 1 << 20;
  if (bytes % kMebi == 0) return fmt::format("{} MiB", bytes / kMebi);
  return fmt::format("{:.4g} {}", static_cast<double>(bytes) / (bytes > kMebi ? kMebi : 1024),
                     bytes > kMebi ? "MiB" : "KiB");
}

void PrintRow(std::string_view label, std::string_view value) {
  fmt::print("{:<16}{}\n", label, value);
}

void Execute() {
  const char* forced = std::getenv("ROPEKV_TARGET");
  const Target chosen = ChosenTarget();
  PrintRow("version", Version());
  PrintRow("targets built", TargetNames(BuiltTargets()));
  PrintRow("targets usable", TargetNames(UsableTargets()));
  const bool by_environment = forced != nullptr && *forced != '\0';
  PrintRow("target chosen",
           fmt::format("{}{}", Name(chosen), by_environment ? "  (ROPEKV_TARGET)" : ""));
  PrintRow("threads", fmt::format("{}", MaxThreads()));
  PrintRow("L1 data cache", SizeText(CacheBytes(1)));
  PrintRow("L2 cache", SizeText(CacheBytes(2)));
  PrintRow("L3 cache", SizeText(CacheBytes(3)));
}

}  // namespace

void AddInfo(CLI::App& app) {
  CLI::App* info = app.add_subcommand("info", "What this build can do on this machine");
  info->footer(kFooter);
  info->callback(Execute);
}

}  // namespace ropekv::cli
