// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/command.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "frontends/cli/case_file.h"
#include "tests/cli/scratch.h"
#include "workload/models.h"

namespace ropekv::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr char kTinyModel[] = "--model llama-3-70b-tp8 ";

TEST(Help, HasExamplesEverywhere) {
  for (const char* arguments : {"--help", "run --help", "verify --help", "gen --help",
                                "info --help", "bench --help", "run -h"}) {
    const Outcome help = Ropekv(arguments);
    EXPECT_EQ(help.exit_code, 0) << arguments;
    EXPECT_EQ(help.err, "") << arguments;
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  ")) << arguments;
    EXPECT_THAT(help.out, HasSubstr("Usage: ropekv")) << arguments;
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), 100u) << arguments << ": " << line;
      EXPECT_FALSE(line.ends_with(' ')) << arguments << ": " << line;
    }
  }
}

TEST(Help, NamesEveryOption) {
  const std::string run = Ropekv("run --help").out;
  for (const char* option :
       {"CASE", "-o,--output", "--numerics", "--threads", "--target", "--strict"}) {
    EXPECT_THAT(run, HasSubstr(option));
  }
  const std::string verify = Ropekv("verify --help").out;
  for (const char* option : {"CASE", "--expect", "--json", "--numerics", "--threads", "--target",
                             "--max-steps", "--max-fraction"}) {
    EXPECT_THAT(verify, HasSubstr(option));
  }
  const std::string gen = Ropekv("gen --help").out;
  for (const char* option :
       {"--model",       "--batch",      "--seq",        "--past",         "--x",
        "--dtype",       "--cache",      "--block-size", "--bias",         "--offsets",
        "--kv-output",   "--seed",       "-o,--output",  "--angles",       "--positions",
        "--packed",      "--half-width", "--rotary-dim", "--rotary-style", "--index-dtype",
        "--cache-dtype", "--scales"}) {
    EXPECT_THAT(gen, HasSubstr(option));
  }
  for (const workload::Model& model : workload::Models()) {
    EXPECT_THAT(gen, HasSubstr(model.name));
  }
}

TEST(Info, SaysWhatRuns) {
  const Outcome info = Ropekv("info");
  EXPECT_EQ(info.exit_code, 0);
  for (const char* row : {"version", "targets built", "targets usable", "target chosen", "threads",
                          "L1 data cache", "L2 cache", "L3 cache"}) {
    EXPECT_THAT(info.out, HasSubstr(row));
  }
  EXPECT_THAT(Ropekv("info", "ROPEKV_TARGET=scalar").out,
              HasSubstr("target chosen   scalar  (ROPEKV_TARGET)"));
  EXPECT_THAT(Ropekv("--version").out, HasSubstr(Version()));
}

// The process's affinity, which oneTBB keeps, counts; the machine's processors do not.
TEST(Info, CountsTheThreadsThatRunUses) {
  const std::string on_one = "taskset -c $(taskset -cp $$ | sed 's/.*: //;s/[,-].*//')";
  EXPECT_THAT(Ropekv("info", on_one).out, HasSubstr("threads         1\n"));
  const Outcome bench = Ropekv(
      "bench --model llama-3-70b-tp8 --tokens 1 --x bf16 --threads all --runs 1 --json", on_one);
  const json report = json::parse(bench.out);
  EXPECT_EQ(report["machine"]["threads"], 1);
  EXPECT_EQ(report["results"][0]["threads"], 1);
  EXPECT_THAT(Ropekv("info").out, HasSubstr(fmt::format("threads         {}\n", MaxThreads())));
}

TEST(Bench, ReportsAsJson) {
  const Outcome bench = Ropekv("bench --model llama-3-70b-tp8 --tokens 1,3 --json");
  EXPECT_EQ(bench.exit_code, 0);
  EXPECT_EQ(bench.err, "");  // no progress off a terminal
  const json report = json::parse(bench.out);
  EXPECT_THAT(report.dump(), HasSubstr("Llama-3-70B-TP8"));
  EXPECT_THAT(Ropekv("bench --model llama-3-70b-tp8 --tokens 2").out, HasSubstr("copy"));
}

TEST(RunAndVerify, AgreeOnEveryKindOfCase) {
  const Scratch scratch;
  const std::string path = scratch / "case", result = scratch / "out";
  for (const char* options : {
           "--batch 3 --seq 5 --past 9 --x i32 --dtype f16 --cache page --block-size 4",
           "--batch 3 --seq 5 --past 9 --x i32 --dtype bf16 --bias i32 --offsets --kv-output",
           "--batch 32 --past 20 --x bf16 --cache page --seed 3",
           "--seq 70 --x f16 --offsets --kv-output",
           "--seq 40 --x f32 --kv-output --rotary-dim 48 --rotary-style interleaved",
           "--batch 9 --past 50 --positions --packed --half-width --cache-dtype bf16",
           "--batch 9 --past 5 --x i32 --dtype f16 --angles f32 --positions --scales head "
           "--offsets",
           "--batch 9 --past 5 --x i32 --dtype f16 --positions --cache page --index-dtype i64",
           "--seq 30 --x f16 --packed --half-width --scales tensor --rotary-style interleaved",
           "--seq 30 --x i32 --dtype f32 --cache-dtype f32 --kv-output --rotary-dim 2",
           "--seq 5 --x i32 --dtype bf16 --angles f32 --cache-dtype f16",
       }) {
    for (const char* numerics : {"float32", "ascend"}) {
      const std::string how = std::string(" --numerics ") + numerics;
      Succeeds("gen " + std::string(kTinyModel) + options + " -o " + path);
      Succeeds("run " + path + " -o " + result + how);
      Succeeds("verify " + path + how);
      Succeeds("verify " + path + " --threads 1 --target scalar --expect " + result + how);
    }
  }
  EXPECT_EQ(scratch.Files(), (std::set<std::string>{"case", "out"}));
}

TEST(Gen, RepeatsItself) {
  const Scratch scratch;
  const std::string options = std::string(kTinyModel) + "--seq 4 --x i32 --seed ";
  Succeeds("gen " + options + "5 -o " + scratch / "a");
  Succeeds("gen " + options + "5 -o " + scratch / "b");
  Succeeds("gen " + options + "6 -o " + scratch / "c");
  EXPECT_EQ(ReadWhole(scratch / "a"), ReadWhole(scratch / "b"));
  EXPECT_NE(ReadWhole(scratch / "a"), ReadWhole(scratch / "c"));
}

TEST(Gen, GivesAModelItsBias) {
  const Scratch scratch;
  const std::string path = scratch / "case";
  Succeeds("gen --model QWEN2.5-0.5b --x i32 -o " + path);
  EXPECT_EQ(CaseFile(path).spec.bias.dtype, DType::kF32);
  Succeeds("gen --model qwen2.5-0.5b --x i32 --bias none -o " + path);
  EXPECT_FALSE(CaseFile(path).spec.bias.present());
  Succeeds("gen --model llama-3-8b --x i32 -o " + path);
  EXPECT_FALSE(CaseFile(path).spec.bias.present());
}

TEST(Gen, GivesAModelItsRotation) {
  const Scratch scratch;
  const std::string path = scratch / "case";
  Succeeds("gen --model glm-4-9b-chat -o " + path);
  EXPECT_EQ(CaseFile(path).spec.rotary_dim, 64);
  EXPECT_EQ(CaseFile(path).spec.rotary_style, RotaryStyle::kInterleaved);
  Succeeds("gen --model glm-4-9b-chat --rotary-dim 32 --rotary-style half -o " + path);
  EXPECT_EQ(CaseFile(path).spec.rotary_dim, 32);
  EXPECT_EQ(CaseFile(path).spec.rotary_style, RotaryStyle::kHalf);
}

TEST(Gen, TakesBothSpellingsOfADType) {
  const Scratch scratch;
  const std::string gen = "gen " + std::string(kTinyModel);
  Succeeds(gen + "--x i32 --dtype f16 --bias bf16 -o " + scratch / "short");
  Succeeds(gen + "--x int32 --dtype float16 --bias bfloat16 -o " + scratch / "long");
  EXPECT_EQ(ReadWhole(scratch / "short"), ReadWhole(scratch / "long"));
  Succeeds(gen + "--x i32 --bias f32 -o " + scratch / "short");
  Succeeds(gen + "--x int32 --bias float32 -o " + scratch / "long");
  EXPECT_EQ(ReadWhole(scratch / "short"), ReadWhole(scratch / "long"));
}

}  // namespace
}  // namespace ropekv::cli
