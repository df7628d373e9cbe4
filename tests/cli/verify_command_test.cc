// SPDX-License-Identifier: Apache-2.0
// What `ropekv verify` reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "frontends/cli/case_file.h"
#include "tests/cli/command.h"
#include "tests/cli/scratch.h"
#include "workload/case.h"

namespace ropekv::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr char kTinyModel[] = "--model llama-3-70b-tp8 ";

class VerifyTest : public testing::Test {
 protected:
  void SetUp() override {
    Succeeds("gen " + std::string(kTinyModel) + "--batch 2 --seq 3 --cache page --kv-output -o " +
             case_);
    Succeeds("run " + case_ + " -o " + result_);
  }

  // Changes one byte `from_end` bytes before the end of the result file, where v_cache ends.
  void FlipResultByte(size_t from_end, int mask) {
    std::string bytes = ReadWhole(result_);
    bytes[bytes.size() - from_end] = static_cast<char>(bytes[bytes.size() - from_end] ^ mask);
    WriteWhole(result_, bytes);
  }

  Scratch scratch_;
  std::string case_ = scratch_ / "case";
  std::string result_ = scratch_ / "out";
};

TEST_F(VerifyTest, CountsTheOneByteThatDiffers) {
  FlipResultByte(3, 1);
  const Outcome text = Ropekv("verify " + case_ + " --expect " + result_);
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_EQ(text.err, "");
  EXPECT_THAT(text.out,
              HasSubstr("v_cache: mismatch at [2, 127, 0, 125], a slot of no token, head 0, "
                        "channel 125: "));
  EXPECT_THAT(text.out, HasSubstr("1 step\n"));
  EXPECT_THAT(text.out, HasSubstr("MISMATCH: 1 of "));

  const Outcome outcome = Ropekv("verify " + case_ + " --json --expect " + result_);
  EXPECT_EQ(outcome.exit_code, 1);
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report["mismatches"], 1);
  EXPECT_EQ(report["equal"], false);
  ASSERT_EQ(report["outputs"].size(), 5u);
  for (const json& output : report["outputs"]) {
    const bool bent = output["name"] == "v_cache";
    EXPECT_EQ(output["mismatches"], bent ? 1 : 0) << output;
    EXPECT_EQ(output["largest_difference"], bent ? 1 : 0) << output;
    EXPECT_EQ(output["stray_mismatches"], bent ? 1 : 0) << output;
    EXPECT_EQ(output["first_mismatches"].size(), bent ? 1u : 0u) << output;
  }
}

TEST_F(VerifyTest, ReportsEqualityAsJson) {
  const Outcome outcome = Ropekv("verify " + case_ + " --json");
  EXPECT_EQ(outcome.exit_code, 0);
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report["equal"], true);
  EXPECT_EQ(report["passed"], true);
  EXPECT_EQ(report["max_steps"], nullptr);
  EXPECT_EQ(report["max_fraction"], nullptr);
  EXPECT_EQ(report["against"], "the reference");
  EXPECT_EQ(report["tokens"], 6);
  int64_t elements = 0;
  for (const json& output : report["outputs"]) elements += output["elements"].get<int64_t>();
  EXPECT_EQ(report["elements"], elements);
  EXPECT_EQ(report["outputs"][2]["name"], "q");
  EXPECT_EQ(report["outputs"][2]["elements"], 6 * 1024);
}

TEST_F(VerifyTest, ComparesTheCachesOfACallWithoutTokens) {
  Succeeds("gen " + std::string(kTinyModel) + "--seq 0 -o " + case_);
  const Outcome outcome = Ropekv("verify " + case_);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("no tokens: only the caches"));
  Succeeds("run " + case_ + " -o " + result_);
  FlipResultByte(1, 0x40);
  EXPECT_EQ(Ropekv("verify " + case_ + " --expect " + result_).exit_code, 1);
}

TEST_F(VerifyTest, SeesAnotherNumerics) {
  Succeeds("gen " + std::string(kTinyModel) + "--seq 64 --past 100 --x f16 -o " + case_);
  Succeeds("run " + case_ + " --numerics ascend -o " + result_);
  EXPECT_EQ(Ropekv("verify " + case_ + " --expect " + result_).exit_code, 1);
  EXPECT_EQ(Ropekv("verify " + case_ + " --numerics ascend --expect " + result_).exit_code, 0);
}

// A result of which a test changes elements, and which lacks what a test takes away.
class ForeignResultTest : public VerifyTest {
 protected:
  void SetUp() override {
    VerifyTest::SetUp();
    CaseFile file(case_);
    made_ = file.Load();
    made_.buffers = ReadResult(result_, made_.spec).buffers;
  }

  // Runs verify against the result as it is now.
  Outcome Verify(const std::string& options) {
    std::vector<TensorView> tensors = {
        {"logits", DType::kF32, {}, std::as_bytes(std::span(&logit_, 1))}};
    for (const TensorField& field : kTensorFields) {
      const TensorSpec& tensor = made_.spec.*field.spec;
      const workload::Buffer& buffer = made_[field.id];
      if (!field.output || buffer.size() == 0) continue;
      tensors.push_back({field.name,
                         tensor.dtype,
                         std::span(tensor.shape).first(tensor.rank),
                         {buffer.data(), static_cast<size_t>(buffer.size())}});
    }
    WriteSafetensors(result_, tensors, {});
    return Ropekv("verify " + case_ + " --expect " + result_ + " " + options);
  }
  // Moves elements of the last head of the last token.
  void MoveQ(int elements, int ulp) {
    const workload::Buffer& q = made_[TensorId::kQ];
    for (int i = 1; i <= elements; ++i)
      q.as<uint16_t>()[q.size() / 2 - i] += static_cast<uint16_t>(ulp);
  }

  workload::Case made_;
  float logit_ = 1;
};

TEST_F(ForeignResultTest, NamesWhatIsNotComparedAndWhatIsIgnored) {
  for (TensorId id : {TensorId::kQ, TensorId::kK}) made_[id] = workload::Buffer();
  const Outcome text = Verify("");
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.out, HasSubstr("not compared, since " + result_ + " lacks them: q, k\n"));
  EXPECT_THAT(text.out, HasSubstr("ignored, since no output: 'logits'\n"));
  const json report = json::parse(Verify("--json").out);
  EXPECT_EQ(report["not_compared"], (json{"q", "k"}));
  EXPECT_EQ(report["ignored"], (json{"logits"}));
  EXPECT_EQ(report["outputs"].size(), 3u);
  EXPECT_EQ(report["equal"], true);
}

TEST_F(ForeignResultTest, StillComparesTheRest) {
  made_[TensorId::kK] = workload::Buffer();
  MoveQ(1, 1);
  EXPECT_EQ(Verify("").exit_code, 1);
}

TEST_F(ForeignResultTest, ToleranceIsOffUnlessGiven) {
  MoveQ(4, 1);
  const Outcome exact = Verify("");
  EXPECT_EQ(exact.exit_code, 1);
  EXPECT_THAT(exact.out, HasSubstr("MISMATCH: 4 of "));
  EXPECT_THAT(exact.out,
              HasSubstr("q: mismatch at [1, 2, 7, 124], token 5, head 7, channel 124: 0x"));
}

TEST_F(ForeignResultTest, ToleranceStillCountsExactly) {
  MoveQ(4, 2);
  const Outcome outcome = Verify("--max-steps 2 --max-fraction 0.001");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("q: mismatch at [1, 2, 7, 124], token 5, "));
  EXPECT_THAT(outcome.out, HasSubstr("WITHIN TOLERANCE: 4 of "));
  EXPECT_THAT(outcome.out, Not(HasSubstr("equal")));
  const json report = json::parse(Verify("--max-steps 2 --max-fraction 0.001 --json").out);
  EXPECT_EQ(report["equal"], false);
  EXPECT_EQ(report["passed"], true);
  EXPECT_EQ(report["max_steps"], 2);
  EXPECT_EQ(report["max_fraction"], 0.001);
  EXPECT_EQ(report["mismatches"], 4);
  const json& q = report["outputs"][2];
  EXPECT_EQ(q["mismatches"], 4);
  EXPECT_EQ(q["largest_difference"], 2);
  EXPECT_EQ(q["passed"], true);
  EXPECT_EQ(q["first_mismatches"].size(), 3u);
  EXPECT_EQ(q["first_mismatches"][0]["token"], 5);
  EXPECT_EQ(q["first_mismatches"][0]["head"], 7);
  EXPECT_EQ(q["first_mismatches"][0]["channel"], 124);
}

TEST_F(ForeignResultTest, ToleranceHasLimits) {
  MoveQ(4, 2);
  EXPECT_EQ(Verify("--max-steps 1").exit_code, 1);
  EXPECT_EQ(Verify("--max-steps 2").exit_code, 0);
  EXPECT_EQ(Verify("--max-fraction 0.0006").exit_code, 1);  // 4 of 6144
  EXPECT_EQ(Verify("--max-fraction 0.0007").exit_code, 0);
  // A stray write: the last slot is no token's.
  const workload::Buffer& cache = made_[TensorId::kVCache];
  cache.as<uint8_t>()[cache.size() - 1] ^= 1;
  const Outcome stray = Verify("--max-steps 255 --max-fraction 1");
  EXPECT_EQ(stray.exit_code, 1);
  EXPECT_THAT(stray.out, HasSubstr("v_cache: 1 of its mismatches are in slots that no token"));
}

}  // namespace
}  // namespace ropekv::cli
