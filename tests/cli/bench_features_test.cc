// SPDX-License-Identifier: Apache-2.0
// `ropekv bench` with what few models and engines have.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/command.h"

namespace ropekv::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kTiny[] = "bench --model llama-3-70b-tp8 --tokens 3 --threads 1 --runs 1 ";

std::string Succeeds(const std::string& arguments) {
  const Outcome outcome = Ropekv(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << arguments << "\n" << outcome.err;
  EXPECT_EQ(outcome.err, "") << arguments;
  return outcome.out;
}

struct Feature {
  const char* option;
  const char* key;
  const char* text;  // in the table; empty: as every point
  json value;
};

// Each is measured, and said in every form of the report.
TEST(BenchFeatures, EachCanBeChosen) {
  const Feature features[] = {
      {"--rotary-dim 64", "rotary_dim", "64 of 128 rotated", 64},
      {"--rotary-style interleaved", "rotary_style", "interleaved", "interleaved"},
      {"--angles f32", "angles", "f32 cos", "f32"},
      {"--positions true", "positions", "positions", true},
      {"--packed true", "packed", "packed", true},
      {"--half-width true", "half_width", "half width", true},
      {"--index-dtype i64", "index_dtype", "i64 indices", "i64"},
      {"--cache-dtype bf16", "cache_dtype", "bf16 cache", "bf16"},
      {"--scales head", "scales", "a scale a head", "head"},
      {"--scales tensor", "scales", "one scale", "tensor"},
      {"--layout hnd", "layout", "hnd", "hnd"},
      {"--layout block-major", "layout", "block-major", "block-major"},
      {"--sliced true", "sliced", "sliced", true},
  };
  const json plain = json::parse(Succeeds(std::string(kTiny) + "--x bf16 --json"))["results"][0];
  for (const Feature& feature : features) {
    const std::string options = std::string(kTiny) + "--x bf16 --kv-output true ";
    const json report = json::parse(Succeeds(options + feature.option + " --json"));
    ASSERT_EQ(report["results"].size(), 1u);
    EXPECT_EQ(report["results"][0][feature.key], feature.value);
    EXPECT_NE(report["results"][0][feature.key], plain[feature.key]) << feature.key;
    EXPECT_THAT(Succeeds(options + feature.option),
                HasSubstr("\n" + std::string(feature.text) + ":\n"));
    EXPECT_THAT(Succeeds(options + feature.option + " --csv"),
                HasSubstr("," + std::string(feature.key) + ","));
  }
}

TEST(BenchFeatures, AreMultipliedAndNamedAboveTheirPoints) {
  const std::string options = std::string(kTiny) + "--x bf16 --cache-dtype i8,f16 --sliced all ";
  EXPECT_EQ(json::parse(Succeeds(options + "--json"))["results"].size(), 4u);
  std::istringstream lines(Succeeds(options));
  std::vector<std::string> headings;
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with(':')) headings.push_back(line);
  }
  EXPECT_THAT(headings, testing::ElementsAre("sliced:", "f16 cache:", "f16 cache, sliced:"));
}

TEST(BenchFeatures, FloatOutputsMustBeAskedFor) {
  const auto count = [](const std::string& options, const char* dtype) {
    int64_t found = 0;
    const json report = json::parse(Succeeds(kTiny + options + "--json"));
    for (const json& row : report["results"]) {
      found += row["dtype"] == dtype;
    }
    return found;
  };
  EXPECT_EQ(count("", "f32"), 0);
  EXPECT_EQ(count("--x i32 ", "f32"), 0);
  EXPECT_EQ(count("--x f32 ", "f32"), 1);
  EXPECT_EQ(count("--dtype f32 ", "f32"), 2);
}

TEST(BenchFeatures, AModelHasItsOwnRotation) {
  const json row = json::parse(Succeeds(
      "bench --model glm-4-9b-chat --tokens 1 --x bf16 --threads 1 --runs 1 --json"))["results"][0];
  EXPECT_EQ(row["rotary_dim"], 64);
  EXPECT_EQ(row["rotary_style"], "interleaved");
}

// The bytes are those of the dtypes and widths that are measured.
TEST(BenchFeatures, BytesAreCounted) {
  const auto bytes = [](const std::string& options) {
    return json::parse(Succeeds(kTiny + ("--x bf16 --json " + options)))["results"][0]["bytes"]
        .get<int64_t>();
  };
  const int64_t plain = bytes("");
  EXPECT_EQ(bytes("--cache-dtype f32") - plain, 3 * 2 * 128 * 3);
  EXPECT_EQ(bytes("--angles f32") - plain, 3 * 2 * 128 * 2);
  EXPECT_EQ(bytes("--half-width true") - plain, -3 * 2 * 64 * 2);
  EXPECT_EQ(bytes("--rotary-dim 32") - plain, -3 * 2 * 96 * 2);
  EXPECT_EQ(bytes("--index-dtype i64") - plain, 3 * 4);
  EXPECT_EQ(bytes("--positions true") - plain, 3 * 4);
  EXPECT_EQ(bytes("--layout hnd --sliced true --packed true --scales tensor"), plain);
}

TEST(BenchFeatures, PeersRefuseThem) {
  const json report = json::parse(Succeeds(
      std::string(kTiny) +
      "--x bf16 --positions false,true --rotary-style interleaved --peer chain,numpy --json"));
  ASSERT_EQ(report["peers"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(report["peers"][i]["failed"],
              i < 2 ? "does not do interleaved" : "does not do interleaved, positions");
  }
  EXPECT_THAT(Succeeds(std::string(kTiny) + "--x bf16 --sliced true --peer chain"),
              HasSubstr("\nchain: does not do sliced\n"));
}

TEST(BenchFeatures, RefuseWhatTheyDoNotHave) {
  const auto refuses = [](const std::string& arguments, const std::string& message) {
    const Outcome outcome = Ropekv("bench --tokens 1 --x bf16 " + arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_EQ(outcome.out, "") << arguments;
    EXPECT_THAT(outcome.err, StartsWith("ropekv: " + message)) << arguments;
  };
  refuses("--rotary-dim 0", "--rotary-dim: '0' is not an integer");
  refuses("--rotary-dim 65", "rotary_dim: is 65; must be even");
  refuses("--rotary-style neox", "--rotary-style: 'neox' is not half or interleaved");
  refuses("--angles f16", "--angles: 'f16' is not q or f32");
  refuses("--positions yes", "--positions: 'yes'");
  refuses("--packed yes", "--packed: 'yes'");
  refuses("--half-width yes", "--half-width: 'yes'");
  refuses("--index-dtype i16", "--index-dtype: 'i16'");
  refuses("--cache-dtype i16", "--cache-dtype: 'i16'");
  refuses("--scales row", "--scales: 'row'");
  refuses("--cache-dtype i8,f16 --scales head", "--scales: a cache of f16 has none");
  refuses("--layout nchw", "--layout: 'nchw' is not nhd, hnd or block-major");
  refuses("--sliced yes", "--sliced: 'yes'");
}

}  // namespace
}  // namespace ropekv::cli
