// SPDX-License-Identifier: Apache-2.0
// `ropekv bench` as a user sees it. Nothing here depends on how long anything takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "ropekv/ropekv.h"
#include "tests/cli/command.h"

namespace ropekv::cli {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// Quick to measure.
constexpr char kTiny[] = "bench --model llama-3-70b-tp8 --tokens 2 --threads 1 --runs 1 ";

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string Succeeds(const std::string& arguments) {
  const Outcome outcome = Ropekv(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << arguments << "\n" << outcome.err;
  EXPECT_EQ(outcome.err, "") << arguments;
  return outcome.out;
}

void Refuses(const std::string& arguments, const std::string& message) {
  const Outcome outcome = Ropekv(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << arguments;
  EXPECT_EQ(outcome.out, "") << arguments;
  EXPECT_THAT(outcome.err, StartsWith("ropekv: ")) << arguments;
  EXPECT_THAT(outcome.err, HasSubstr(message)) << arguments;
  EXPECT_EQ(LinesOf(outcome.err).size(), 1u) << arguments;
}

TEST(BenchHelp, NamesEveryOptionAndFitsTheScreen) {
  const std::string help = Succeeds("bench --help");
  for (const char* option :
       {"--model",     "--tokens", "--x",           "--dtype",       "--numerics",     "--cache",
        "--kv-output", "--bound",  "--threads",     "--quick",       "--full",         "--target",
        "--runs",      "--peer",   "--python",      "--rotary-dim",  "--rotary-style", "--angles",
        "--positions", "--packed", "--half-width",  "--index-dtype", "--cache-dtype",  "--scales",
        "--layout",    "--sliced", "--csv",         "--json",        "chain",          "numpy",
        "onnxruntime", "torch",    "torch-compile", "valgrind",      "Examples:\n  "}) {
    EXPECT_THAT(help, HasSubstr(option));
  }
  for (const std::string& line : LinesOf(help)) {
    EXPECT_LE(line.size(), 100u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST(BenchTable, HasALineForEachPoint) {
  const auto lines = LinesOf(Succeeds(std::string(kTiny) + "--x bf16 --peer chain"));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], StartsWith("model"));
  EXPECT_THAT(lines[1], StartsWith("Llama-3-70B-TP8"));
  EXPECT_THAT(lines[2], StartsWith("  chain"));
  for (const std::string& line : lines) EXPECT_EQ(line.size(), lines[0].size());
  EXPECT_LE(lines[0].size(), 120u);
}

TEST(BenchJson, HasTheKeysPromised) {
  const json report = json::parse(Succeeds(std::string(kTiny) + "--x i32 --dtype f16 --json"));
  EXPECT_EQ(report["command"], "ropekv " + std::string(kTiny) + "--x i32 --dtype f16 --json");
  EXPECT_EQ(report["peers"], json::array());
  for (const char* key : {"processor", "architecture", "kernel", "compiler", "version"}) {
    EXPECT_TRUE(report["machine"][key].is_string()) << key;
  }
  for (const char* key : {"threads", "l1d_bytes", "l2_bytes", "l3_bytes"}) {
    EXPECT_TRUE(report["machine"][key].is_number_integer()) << key;
  }
  ASSERT_EQ(report["results"].size(), 2u);  // the two numerics
  const json& result = report["results"][0];
  EXPECT_EQ(result["model"], "Llama-3-70B-TP8");
  EXPECT_EQ(result["num_q_heads"], 8);
  EXPECT_EQ(result["num_kv_heads"], 1);
  EXPECT_EQ(result["head_dim"], 128);
  EXPECT_EQ(result["tokens"], 2);
  EXPECT_EQ(result["x"], "i32");
  EXPECT_EQ(result["dtype"], "f16");
  EXPECT_EQ(result["numerics"], "float32");
  EXPECT_EQ(report["results"][1]["numerics"], "ascend");
  EXPECT_EQ(result["cache"], "page");
  EXPECT_EQ(result["kv_output"], false);
  EXPECT_EQ(result["bound"], false);
  EXPECT_EQ(result["threads"], 1);
  EXPECT_NE(result["target"], "best");
  EXPECT_EQ(result["runs"], 1);
  EXPECT_EQ(result["ns"], result["ns_min"]);
  EXPECT_EQ(result["ns"], result["ns_max"]);
  EXPECT_NEAR(result["ns_per_token"], result["ns"].get<double>() / 2, 0.1);
  EXPECT_NEAR(result["ratio"], result["floor_ns"].get<double>() / result["ns"].get<double>(), 0.01);
  EXPECT_NEAR(result["gbps"], result["bytes"].get<double>() / result["ns"].get<double>(), 0.01);
}

TEST(BenchCsv, HasTheColumnsOfJson) {
  const std::string options = std::string(kTiny) + "--x bf16 --peer chain ";
  const json report = json::parse(Succeeds(options + "--json"));
  const auto lines = LinesOf(Succeeds(options + "--csv"));
  ASSERT_EQ(lines.size(), 3u);
  const auto fields = [](const std::string& line) {
    std::vector<std::string> words;
    std::istringstream stream(line);
    for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
    return words;
  };
  const auto columns = fields(lines[0]);
  EXPECT_EQ(columns.size(), report["results"][0].size() + 1);
  EXPECT_EQ(columns[0], "implementation");
  for (size_t i = 1; i < columns.size(); ++i) {
    EXPECT_TRUE(report["results"][0].contains(columns[i])) << columns[i];
  }
  EXPECT_EQ(fields(lines[1]).size(), columns.size());
  EXPECT_EQ(fields(lines[2]).size(), columns.size());
  EXPECT_THAT(lines[1], StartsWith("ropekv,Llama-3-70B-TP8,8,1,128,2,bf16,bf16,float32,page,"));
  EXPECT_THAT(lines[2], StartsWith("chain,Llama-3-70B-TP8,8,1,128,2,bf16,bf16,float32,page,"));
}

// The values of `key` in order, each once.
std::vector<json> ValuesOf(const json& report, const char* key) {
  std::vector<json> values;
  for (const json& result : report["results"]) {
    if (std::find(values.begin(), values.end(), result[key]) == values.end()) {
      values.push_back(result[key]);
    }
  }
  return values;
}

TEST(BenchLists, AreMultiplied) {
  const json report = json::parse(Succeeds(
      "bench --model llama-3-70b-tp8,gemma-2b --tokens 3,1,3 --x bf16,bfloat16 --cache all "
      "--kv-output false,true --bound false,true --threads 1,2 --runs 1 --json"));
  EXPECT_EQ(report["results"].size(), 2u * 2 * 3 * 2 * 2 * 2);
  EXPECT_THAT(ValuesOf(report, "model"), ElementsAre("Llama-3-70B-TP8", "Gemma-2B"));
  EXPECT_THAT(ValuesOf(report, "tokens"), ElementsAre(3, 1));
  EXPECT_THAT(ValuesOf(report, "cache"), ElementsAre("contiguous", "page", "random"));
  EXPECT_THAT(ValuesOf(report, "kv_output"), ElementsAre(false, true));
  EXPECT_THAT(ValuesOf(report, "bound"), ElementsAre(false, true));
  EXPECT_THAT(ValuesOf(report, "threads"), ElementsAre(1, 2));
}

TEST(BenchLists, HaveDefaults) {
  const json plain = json::parse(Succeeds("bench --tokens 1 --x bf16 --runs 1 --json"));
  EXPECT_THAT(ValuesOf(plain, "model"), ElementsAre("Llama-3-8B"));
  EXPECT_THAT(ValuesOf(plain, "cache"), ElementsAre("page"));
  std::vector<json> threads{1};
  if (MaxThreads() > 1) threads = {1, MaxThreads()};
  EXPECT_EQ(ValuesOf(plain, "threads"), threads);
  const json quick = json::parse(Succeeds("bench --quick --x bf16 --runs 1 --json"));
  EXPECT_THAT(ValuesOf(quick, "model"), ElementsAre("Llama-3-8B", "Llama-3-70B-TP8"));
  EXPECT_THAT(ValuesOf(quick, "tokens"), ElementsAre(1, 16, 256, 4096));
  EXPECT_THAT(ValuesOf(quick, "threads"), ElementsAre(1));
  const std::string full = "bench --full --x bf16 --tokens 1 --runs 1 --json ";
  const json models =
      json::parse(Succeeds(full + "--cache page --kv-output false --bound false --threads 1"));
  EXPECT_EQ(models["results"].size(), 26u);
  EXPECT_EQ(ValuesOf(models, "model").size(), 26u);
  const json others = json::parse(Succeeds(full + "--model llama-3-70b-tp8"));
  EXPECT_EQ(others["results"].size(), 3 * 2 * 2 * threads.size());
  EXPECT_THAT(ValuesOf(others, "cache"), ElementsAre("contiguous", "page", "random"));
  EXPECT_THAT(ValuesOf(others, "kv_output"), ElementsAre(false, true));
}

TEST(BenchLists, RefuseWhatTheyDoNotHave) {
  Refuses("bench --model llama-9", "--model: 'llama-9' is unknown");
  Refuses("bench --tokens 1,0", "--tokens: '0' is not an integer from 1 to");
  Refuses("bench --tokens 1x", "--tokens: '1x'");
  Refuses("bench --x f64", "--x: 'f64' is not i32, f16, bf16 or f32");
  Refuses("bench --cache page,heap", "--cache: 'heap' is not contiguous, page or random");
  Refuses("bench --kv-output yes", "--kv-output: 'yes'");
  Refuses("bench --threads 0", "--threads: '0'");
  Refuses("bench --target mmx", "--target: 'mmx' is unknown");
  Refuses("bench --runs 0", "--runs: '0'");
  Refuses("bench --x f16 --dtype bf16", "no kernel");
  Refuses("bench --x bf16 --numerics ascend", "no kernel");
  Refuses("bench --x f32 --dtype bf16", "no kernel");
  Refuses("bench --quick --full", "--full");
  Refuses("bench --csv --json", "--json");
  Refuses("bench --model llama-2-13b --tokens 16777216", "GiB of memory");
  Refuses("bench --tokens 1 --peer chain,ggml", "--peer: 'ggml' is not all or one of chain, numpy");
}

TEST(BenchPeers, AreMeasuredOnTheSameDataAndAgree) {
  const json report = json::parse(Succeeds(std::string(kTiny) +
                                           "--numerics float32,ascend --cache contiguous,random "
                                           "--kv-output true --peer chain,numpy --python " +
                                           ROPEKV_SYSTEM_PYTHON + " --json"));
  ASSERT_EQ(report["results"].size(), 6u * 2);
  ASSERT_EQ(report["peers"].size(), 2 * report["results"].size());
  for (size_t i = 0; i < report["peers"].size(); ++i) {
    const json& peer = report["peers"][i];
    const json& result = report["results"][i / 2];
    EXPECT_EQ(peer["peer"], i % 2 == 0 ? "chain" : "numpy");
    EXPECT_EQ(peer["mismatches"], 0) << peer;
    EXPECT_EQ(peer["operator_ns"], result["ns"]);
    EXPECT_NE(peer["version"], "");
    EXPECT_EQ(peer["runs"], 1);
    for (const char* key :
         {"model", "num_q_heads", "num_kv_heads", "head_dim", "tokens", "x", "dtype", "numerics",
          "cache", "kv_output", "bound", "threads", "floor_ns"}) {
      EXPECT_EQ(peer[key], result[key]) << key;
    }
  }
}

// Asked for by the option alone, each says once why it is absent; the chain never is.
TEST(BenchPeers, MayBeAbsent) {
  const std::string options = std::string(kTiny) + "--tokens 1 --x bf16 --python /no/python ";
  const json report = json::parse(Succeeds(options + "--peer --json"));
  std::vector<std::string> absent, measured;
  for (const json& peer : report["peers"]) {
    (peer.contains("absent") ? absent : measured).push_back(peer["peer"]);
    EXPECT_THAT(peer.value("absent", "/no/python"), HasSubstr("/no/python"));
  }
  EXPECT_THAT(absent, ElementsAre("numpy", "onnxruntime", "torch", "torch-compile"));
  EXPECT_THAT(measured, ElementsAre("chain", "chain"));
  EXPECT_THAT(Succeeds(options + "--peer torch"), HasSubstr("torch: absent: "));
}

}  // namespace
}  // namespace ropekv::cli
