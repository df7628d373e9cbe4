// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/cli/bent_case.h"

namespace ropekv::cli {
namespace {

using workload::Buffer;
using workload::Case;

class ResultFileTest : public testing::Test {
 protected:
  ResultFileTest() { WriteResult(path_, made_); }

  StoredResult Read(const std::function<void(Parts*)>& bend) const {
    Parts parts = TakeApart(path_);
    bend(&parts);
    Write(scratch_ / "bent", parts);
    return ReadResult(scratch_ / "bent", made_.spec);
  }
  std::string Refusal(const std::function<void(Parts*)>& bend) const {
    try {
      Read(bend);
    } catch (const InputError& error) {
      return std::string(error.what()).substr((scratch_ / "bent: ").size());
    }
    return "";
  }

  Scratch scratch_;
  std::string path_ = scratch_ / "out";
  Case made_ = SmallCase(DType::kF16, DType::kF16);  // with k and v
};

TEST_F(ResultFileTest, ComesBackAsItWas) {
  const StoredResult read = ReadResult(path_, made_.spec);
  EXPECT_THAT(read.missing, testing::IsEmpty());
  EXPECT_THAT(read.further, testing::IsEmpty());
  for (const TensorField& field : kTensorFields) {
    const Buffer& buffer = read.buffers[static_cast<int>(field.id)];
    ASSERT_EQ(buffer.size(), field.output ? made_[field.id].size() : 0) << field.name;
    if (buffer.size() == 0) continue;
    EXPECT_EQ(std::memcmp(buffer.data(), made_[field.id].data(), buffer.size()), 0) << field.name;
  }
}

TEST_F(ResultFileTest, MayHaveLessAndMore) {
  const StoredResult read = Read([](Parts* parts) {
    parts->Drop("q");
    (*parts)["v"].name = "logits";
    parts->metadata["anything"] = "goes";
  });
  EXPECT_THAT(read.missing, testing::ElementsAre("q", "v"));
  EXPECT_THAT(read.further, testing::ElementsAre("logits"));
  EXPECT_EQ(read.buffers[static_cast<int>(TensorId::kQ)].size(), 0);
  EXPECT_GT(read.buffers[static_cast<int>(TensorId::kK)].size(), 0);
}

TEST_F(ResultFileTest, OutputsMustBeTheCases) {
  EXPECT_EQ(Refusal([](Parts* parts) { (*parts)["q"].dtype = "BF16"; }),
            "tensor 'q': is BF16 [2, 3, 8, 128], the case makes F16 [2, 3, 8, 128]");
  EXPECT_EQ(Refusal([](Parts* parts) {
              (*parts)["q"].shape = {6, 8, 128};
            }),
            "tensor 'q': is F16 [6, 8, 128], the case makes F16 [2, 3, 8, 128]");
}

TEST_F(ResultFileTest, KAndVAreOutputsOnlyWithKvOutput) {
  made_.spec.kv_output = false;
  made_.spec.k = made_.spec.v = {};
  EXPECT_THAT(ReadResult(path_, made_.spec).further, testing::UnorderedElementsAre("k", "v"));
}

}  // namespace
}  // namespace ropekv::cli
