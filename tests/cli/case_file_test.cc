// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/case_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/cli/bent_case.h"

namespace ropekv::cli {
namespace {

using testing::HasSubstr;
using workload::Case;

void ExpectSameSpec(const TensorSpec& a, const TensorSpec& b, const char* name) {
  EXPECT_EQ(a.dtype, b.dtype) << name;
  EXPECT_EQ(a.rank, b.rank) << name;
  EXPECT_EQ(a.shape, b.shape) << name;
  EXPECT_EQ(a.stride, b.stride) << name;
}

TEST(CaseFile, ComesBackAsItWas) {
  const Scratch scratch;
  const std::string path = scratch / "case";
  for (DType x : {DType::kI32, DType::kF16, DType::kBF16}) {
    for (CacheLayout cache : {CacheLayout::kContiguous, CacheLayout::kPaged}) {
      for (Numerics numerics : {Numerics::kFloat32, Numerics::kAscend}) {
        Case made = SmallCase(x, x == DType::kI32 ? DType::kBF16 : x, cache);
        made.spec.numerics = numerics;
        WriteCase(path, made);
        CaseFile file(path);
        EXPECT_EQ(file.note(), "");
        EXPECT_EQ(file.spec.size_splits, made.spec.size_splits);
        EXPECT_EQ(file.spec.cache_layout, cache);
        EXPECT_EQ(file.spec.numerics, numerics);
        EXPECT_EQ(file.spec.kv_output, made.spec.kv_output);
        const Case read = file.Load();
        for (const TensorField& field : kTensorFields) {
          ExpectSameSpec(read.spec.*field.spec, made.spec.*field.spec, field.name);
          ASSERT_EQ(read[field.id].size(), made[field.id].size()) << field.name;
          if (made[field.id].size() == 0) continue;
          EXPECT_EQ(
              std::memcmp(read[field.id].data(), made[field.id].data(), made[field.id].size()), 0)
              << field.name;
        }
      }
    }
  }
}

std::string MetadataRefusal(const std::string& key, const std::string& value) {
  return Refusal([&](Parts* parts) { parts->metadata[key] = value; });
}

TEST(CaseFile, AttributesAreChecked) {
  EXPECT_EQ(MetadataRefusal("cache_mode", "pages"),
            "metadata 'cache_mode': 'pages' is not contiguous or page");
  EXPECT_EQ(MetadataRefusal("kv_output", "yes"),
            "metadata 'kv_output': 'yes' is not false or true");
  EXPECT_EQ(MetadataRefusal("numerics", "fp32"),
            "metadata 'numerics': 'fp32' is not float32 or ascend");
  EXPECT_EQ(MetadataRefusal("quant_mode", "dynamic"),
            "metadata 'quant_mode': 'dynamic' is not static");
  EXPECT_EQ(MetadataRefusal("layout", "BNSD"), "metadata 'layout': 'BNSD' is not BSND");
  EXPECT_EQ(Refusal([](Parts* parts) { parts->metadata.erase("size_splits"); }),
            "metadata 'size_splits' is missing");
}

TEST(CaseFile, AttributesHaveDefaults) {
  const Scratch scratch;
  WriteCase(scratch / "case", SmallCase(DType::kBF16, DType::kBF16, CacheLayout::kContiguous));
  Parts parts = TakeApart(scratch / "case");
  parts.metadata = {{"size_splits", "1024, 128, 128"}, {"format", "pt"}};
  Write(scratch / "case", parts);
  const CaseFile file(scratch / "case");
  EXPECT_EQ(file.note(), "");
  const Spec& spec = file.spec;
  EXPECT_EQ(spec.size_splits, (std::array<int64_t, 3>{1024, 128, 128}));
  EXPECT_EQ(spec.cache_layout, CacheLayout::kContiguous);
  EXPECT_EQ(spec.numerics, Numerics::kFloat32);
  EXPECT_FALSE(spec.kv_output);
  EXPECT_TRUE(MakePlan(spec).ok());
}

TEST(CaseFile, CacheModeIsCaseInsensitive) {
  EXPECT_EQ(MetadataRefusal("cache_mode", "PAGE"), "");
  EXPECT_EQ(MetadataRefusal("cache_mode", "Page"), "");
}

TEST(CaseFile, SplitsMustBeThreeIntegers) {
  for (const char* text :
       {"", "1024", "1024,128", "1024,128,128,", "1024,128,128,1", "1024;128;128", ",1024,128,128",
        "1024,,128", "1024,128,x", "99999999999999999999,1,1", "1024 128 128", "1024,128,128 "}) {
    EXPECT_EQ(MetadataRefusal("size_splits", text),
              "metadata 'size_splits': '" + std::string(text) +
                  "' is not three integers such as 1024,128,128");
  }
  EXPECT_THAT(MetadataRefusal("size_splits", "-1,128,128"), testing::StartsWith("size_splits: "));
  EXPECT_THAT(MetadataRefusal("size_splits", "9223372036854775807,128,128"),
              testing::StartsWith("size_splits: "));
}

TEST(CaseFile, RanksBeyondTheOperatorsAreRefused) {
  EXPECT_EQ(Refusal([](Parts* parts) {
              (*parts)["bias"].shape = {1280, 1, 1, 1, 1};
            }),
            "tensor 'bias': its rank is 5, at most 4 is legal");
}

// The reader builds the outputs' shapes from tensors that may be anything.
TEST(CaseFile, WhatDoesNotFitIsThePlansToRefuse) {
  const auto drop = [](const char* name) {
    return Refusal([name](Parts* parts) { parts->Drop(name); });
  };
  const auto reshape = [](const char* name, std::vector<int64_t> shape) {
    return Refusal([&](Parts* parts) {
      StoredTensor& tensor = (*parts)[name];
      int64_t bytes = StoredBytes(tensor.dtype);
      for (int64_t extent : shape) bytes *= extent;
      parts->bytes[&tensor - parts->tensors.data()].resize(bytes);
      tensor.shape = shape;
    });
  };
  for (const char* name :
       {"x", "cos", "sin", "k_cache", "v_cache", "indices", "scale_k", "scale_v", "weight_scale"}) {
    EXPECT_THAT(drop(name), testing::StartsWith(std::string(name) + ": ")) << name;
  }
  for (const char* name : {"x", "cos", "k_cache", "indices", "scale_k", "bias"}) {
    EXPECT_THAT(reshape(name, {}), testing::StartsWith(std::string(name) + ": ")) << name;
    EXPECT_THAT(reshape(name, {0, 0, 0, 0}), testing::StartsWith(std::string(name) + ": "));
  }
  EXPECT_THAT(reshape("k_cache", {2, 4, 0, 128}), HasSubstr("k_cache"));
  EXPECT_THAT(reshape("k_cache", {2, 4, 1, 0}), HasSubstr("k_cache"));
  EXPECT_NE(reshape("k_cache", {0, 4, int64_t{1} << 62, 1}), "");
  EXPECT_THAT(reshape("k_cache", {1024, 128}), testing::StartsWith("k_cache: "));
}

TEST(CheckFitsInMemory, RefusesTheImpossible) {
  Spec spec;
  spec.k_cache = Dense(DType::kI8, {int64_t{1} << 40, 1 << 10, 8, 128});
  try {
    CheckFitsInMemory("here", spec);
    ADD_FAILURE() << "2^60 bytes fit";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("here: needs 1073741824.0 GiB of memory"));
  }
}

}  // namespace
}  // namespace ropekv::cli
