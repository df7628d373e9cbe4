// SPDX-License-Identifier: Apache-2.0
// Everything that makes the command refuse: exit code 2, one line on stderr, no file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "frontends/cli/case_file.h"
#include "tests/cli/command.h"
#include "tests/cli/scratch.h"
#include "workload/generate.h"

namespace ropekv::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class RefusalTest : public testing::Test {
 protected:
  RefusalTest() {
    workload::GenerateOptions options;
    options.model = *workload::FindModel("Llama-3-70B-TP8");
    options.batch = 2;
    case_ = workload::Generate(options);
    WriteCase(path_, case_);
  }

  // Runs the command, which must refuse with "ropekv: `culprit`: " and change no file.
  std::string Refusal(const std::string& arguments, const std::string& culprit,
                      const std::string& before = "") {
    const std::set<std::string> files = scratch_.Files();
    const Outcome outcome = Ropekv(arguments, before);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_EQ(outcome.out, "") << arguments;
    EXPECT_THAT(outcome.err, StartsWith("ropekv: " + culprit + ": ")) << arguments;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_TRUE(outcome.err.ends_with('\n'));
    EXPECT_EQ(scratch_.Files(), files) << arguments;
    return outcome.err;
  }

  Scratch scratch_;
  workload::Case case_;
  std::string path_ = scratch_ / "case";
  std::string out_ = scratch_ / "out";
  std::string to_out_ = " -o " + out_;
};

TEST_F(RefusalTest, Usage) {
  Refusal("", "a subcommand");
  Refusal("frobnicate", "frobnicate");
  Refusal("--frobnicate", "--frobnicate");
  Refusal("run", "CASE");
  Refusal("run " + path_, "--output");
  Refusal("run " + path_ + " -o", "--output");
  Refusal("run " + path_ + to_out_ + " more", "more");
  Refusal("run " + path_ + to_out_ + to_out_, "--output");
  Refusal("run " + path_ + to_out_ + " --threads -1", "--threads");
  Refusal("run " + path_ + to_out_ + " --threads 1x", "--threads");
  Refusal("run " + path_ + to_out_ + " --numerics Float32", "--numerics");
  Refusal("verify", "CASE");
  Refusal("verify " + path_ + " --strict", "--strict");
  Refusal("gen" + to_out_, "--model");
}

TEST_F(RefusalTest, EmptyArguments) {
  Refusal("verify " + path_ + " --expect ''", "argument 4");
  Refusal("verify " + path_ + " --expect=", "argument 3");
  Refusal("run '' " + to_out_, "argument 2");
  Refusal("run " + path_ + " -o ''", "argument 4");
  Refusal("run " + path_ + to_out_ + " --numerics ''", "argument 6");
}

TEST_F(RefusalTest, Bench) {
  Refusal("bench --tokens x", "--tokens");
  Refusal("bench --tokens 0", "--tokens");
  EXPECT_THAT(Refusal("bench --model llama-9", "--model"), HasSubstr("llama-9"));
}

TEST_F(RefusalTest, Targets) {
  EXPECT_THAT(Refusal("run " + path_ + to_out_ + " --target mmx", "--target"), HasSubstr("scalar"));
#ifdef __x86_64__
  const char* foreign = "neon";
#else
  const char* foreign = "avx2";
#endif
  EXPECT_EQ(Ropekv("run " + path_ + to_out_ + " --target " + foreign).exit_code, 2);
  Refusal("run " + path_ + to_out_, "ROPEKV_TARGET", "ROPEKV_TARGET=mmx");
  Refusal("info", "ROPEKV_TARGET", "ROPEKV_TARGET=mmx");
}

TEST_F(RefusalTest, GenOptions) {
  const std::string gen = "gen --model llama-3-8b" + to_out_;
  EXPECT_THAT(Refusal("gen --model llama-9" + to_out_, "--model"), HasSubstr("'llama-9'"));
  Refusal(gen + " --batch 0", "--batch");
  Refusal(gen + " --batch 99999999999999999999", "--batch");
  Refusal(gen + " --seq -1", "--seq");
  Refusal(gen + " --past 1e3", "--past");
  Refusal(gen + " --block-size 0", "--block-size");
  Refusal(gen + " --seed x", "--seed");
  EXPECT_THAT(Refusal(gen + " --x f64", "--x"), HasSubstr("i32, f16, bf16 or f32"));
  EXPECT_THAT(Refusal(gen + " --dtype i8", "--dtype"), HasSubstr("f16"));
  EXPECT_THAT(Refusal(gen + " --dtype f32", "--dtype"), HasSubstr("must be bf16"));
  EXPECT_THAT(Refusal(gen + " --x f16 --dtype bf16", "--dtype"), HasSubstr("must be f16"));
  EXPECT_THAT(Refusal(gen + " --cache paged", "--cache"), HasSubstr("contiguous or page"));
  EXPECT_THAT(Refusal(gen + " --x i32 --bias f64", "--bias"), HasSubstr("bf16"));
  EXPECT_THAT(Refusal(gen + " --x bf16 --bias f32", "--bias"), HasSubstr("i32"));
  EXPECT_THAT(Refusal(gen + " --batch 1000000 --past 10000000", "gen"), HasSubstr("GiB"));
}

TEST_F(RefusalTest, GenFeatures) {
  const std::string gen = "gen --model llama-3-8b" + to_out_;
  EXPECT_THAT(Refusal(gen + " --angles f16", "--angles"), HasSubstr("must be bf16"));
  EXPECT_THAT(Refusal(gen + " --angles i8", "--angles"), HasSubstr("f32"));
  Refusal(gen + " --rotary-dim 0", "--rotary-dim");
  EXPECT_THAT(Refusal(gen + " --rotary-dim 63", "rotary_dim"), HasSubstr("even"));
  EXPECT_THAT(Refusal(gen + " --rotary-dim 130", "rotary_dim"), HasSubstr("128"));
  EXPECT_THAT(Refusal(gen + " --rotary-style neox", "--rotary-style"), HasSubstr("interleaved"));
  EXPECT_THAT(Refusal(gen + " --index-dtype i16", "--index-dtype"), HasSubstr("i32 or i64"));
  EXPECT_THAT(Refusal(gen + " --cache-dtype f8", "--cache-dtype"), HasSubstr("i8, f16"));
  EXPECT_THAT(Refusal(gen + " --scales row", "--scales"), HasSubstr("channel, head or tensor"));
  EXPECT_THAT(Refusal(gen + " --cache-dtype bf16 --scales head", "--scales"), HasSubstr("bf16"));
  EXPECT_THAT(Refusal(gen + " --cache-dtype f16 --offsets", "--offsets"), HasSubstr("f16"));
}

TEST_F(RefusalTest, Files) {
  Refusal("run " + scratch_ / "absent" + to_out_, scratch_ / "absent");
  Refusal("run " + scratch_.path() + to_out_, scratch_.path());
  Refusal("run " + path_ + " -o " + scratch_ / "no/out", scratch_ / "no/out");
  Refusal("run " + path_ + " -o " + scratch_.path(), scratch_.path());
  Refusal("run " + path_ + " -o /dev/null", "/dev/null");
  Refusal("run " + path_ + " -o " + path_, "--output");
  Refusal("verify " + path_ + " --expect " + path_, "--expect");
  WriteWhole(scratch_ / "junk", "This is not a case.");
  Refusal("run " + scratch_ / "junk" + to_out_, scratch_ / "junk");
  Refusal("verify " + path_ + " --expect " + scratch_ / "junk", scratch_ / "junk");
  Refusal("run '" + scratch_ / "two\nlines'" + to_out_, scratch_ / "two\\x0alines");
}

TEST_F(RefusalTest, CasesThatDoNotFit) {
  case_.spec.size_splits = {1024, 128, 64};
  WriteCase(path_, case_);
  Refusal("run " + path_ + to_out_, path_ + ": size_splits");
  Refusal("verify " + path_, path_ + ": size_splits");
}

TEST_F(RefusalTest, BadIndicesLeaveTheOldResult) {
  case_[TensorId::kIndices].as<int32_t>()[1] = 1000;
  WriteCase(path_, case_);
  WriteWhole(out_, "old");
  EXPECT_THAT(Refusal("run " + path_ + to_out_, path_ + ": indices"), HasSubstr("1000"));
  Refusal("verify " + path_, path_ + ": indices");
  EXPECT_EQ(ReadWhole(out_), "old");
}

TEST_F(RefusalTest, BadPositionsLeaveTheOldResult) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-70B-TP8");
  options.positions = true;
  options.index_dtype = DType::kI64;
  case_ = workload::Generate(options);
  workload::SetIndex(case_, TensorId::kPositions, 0, int64_t{1} << 33);
  WriteCase(path_, case_);
  WriteWhole(out_, "old");
  EXPECT_THAT(Refusal("run " + path_ + to_out_, path_ + ": positions"), HasSubstr("8589934592"));
  Refusal("verify " + path_, path_ + ": positions");
  EXPECT_EQ(ReadWhole(out_), "old");
}

TEST_F(RefusalTest, StrictKeepsTheDevicesLimits) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-8B");
  WriteCase(path_, workload::Generate(options));
  EXPECT_THAT(Refusal("run " + path_ + to_out_ + " --strict", path_ + ": x"), HasSubstr("4096"));
  EXPECT_EQ(Ropekv("run " + path_ + to_out_).exit_code, 0);
  options.model = *workload::FindModel("SmolLM2-135M");
  options.positions = true;
  WriteCase(path_, workload::Generate(options));
  Refusal("run " + path_ + " -o " + scratch_ / "other --strict", path_ + ": positions");
}

TEST_F(RefusalTest, Tolerances) {
  const std::string verify = "verify " + path_;
  Refusal(verify + " --max-steps 1", "--max-steps");
  Refusal(verify + " --max-fraction 0", "--max-fraction");
  const std::string expect = verify + " --expect " + path_ + " ";
  Refusal(expect + "--max-steps -1", "--max-steps");
  Refusal(expect + "--max-steps 1.5", "--max-steps");
  for (const char* fraction : {"-0.1", "1.1", "nan", "1e-3x", "1%"}) {
    Refusal(expect + "--max-fraction " + fraction, "--max-fraction");
  }
}

TEST_F(RefusalTest, NothingToCompare) {
  WriteSafetensors(out_, {{"logits", DType::kI8, std::vector<int64_t>{0}, {}}}, {});
  EXPECT_THAT(Refusal("verify " + path_ + " --expect " + out_, out_),
              HasSubstr("has none of the case's outputs"));
}

TEST_F(RefusalTest, NothingToVerify) {
  for (TensorSpec* cache : {&case_.spec.k_cache, &case_.spec.v_cache}) cache->shape[0] = 0;
  case_.spec.x.shape[0] = case_.spec.cos.shape[0] = case_.spec.sin.shape[0] = 0;
  case_.spec.indices.shape[0] = 0;
  for (TensorId id : {TensorId::kX, TensorId::kCos, TensorId::kSin, TensorId::kIndices,
                      TensorId::kKCache, TensorId::kVCache}) {
    case_[id] = workload::Buffer(0);
  }
  WriteCase(path_, case_);
  EXPECT_THAT(Refusal("verify " + path_, path_), HasSubstr("nothing to verify"));
}

TEST_F(RefusalTest, AFullDiskLeavesNothing) {
  WriteWhole(out_, "old");
  // In units of 512 or 1024 bytes, the shell's choice: less than the case and the result.
  Refusal("run " + path_ + to_out_, out_, "ulimit -f 20;");
  Refusal("gen --model llama-3-8b" + to_out_, out_, "ulimit -f 20;");
  EXPECT_EQ(ReadWhole(out_), "old");
}

TEST_F(RefusalTest, AReportThatNobodyHears) {
  const std::string message = "ropekv: stdout: No space left on device\n";
  const std::set<std::string> files = scratch_.Files();
  for (const std::string& arguments :
       {std::string("info"), std::string("--help"), "verify " + path_, "run " + path_ + to_out_,
        "gen --model llama-3-8b" + to_out_}) {
    const Outcome outcome = Ropekv(arguments, "", "/dev/full");
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_EQ(outcome.err, message) << arguments;
    EXPECT_EQ(scratch_.Files(), files) << arguments;
  }
  // Nor is it a crash when the reason is not heard.
  const std::string silenced = "'" ROPEKV_BINARY "' run absent" + to_out_ + " 2>/dev/full";
  const int status = std::system(silenced.c_str());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << status;
}

}  // namespace
}  // namespace ropekv::cli
