// SPDX-License-Identifier: Apache-2.0
// Case files with what few models and engines have.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/cli/bent_case.h"

namespace ropekv::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using workload::Case;

workload::GenerateOptions Small() {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("GLM-4-9B-Chat");
  options.batch = 2;
  options.seq = 3;
  options.past = 5;
  return options;
}

void ExpectSame(const Case& read, const Case& made) {
  for (const TensorField& field : kTensorFields) {
    const TensorSpec &a = read.spec.*field.spec, &b = made.spec.*field.spec;
    EXPECT_EQ(a.dtype, b.dtype) << field.name;
    EXPECT_EQ(a.shape, b.shape) << field.name;
    EXPECT_EQ(a.stride, b.stride) << field.name;
    ASSERT_EQ(read[field.id].size(), made[field.id].size()) << field.name;
    if (made[field.id].size() == 0) continue;
    EXPECT_EQ(std::memcmp(read[field.id].data(), made[field.id].data(), made[field.id].size()), 0)
        << field.name;
  }
  EXPECT_EQ(read.spec.rotary_dim, made.spec.rotary_dim);
  EXPECT_EQ(read.spec.rotary_style, made.spec.rotary_style);
}

TEST(CaseFeatures, ComeBackAsTheyWere) {
  const Scratch scratch;
  const std::string path = scratch / "case";
  for (int kind = 0; kind < 32; ++kind) {
    workload::GenerateOptions options = Small();
    options.positions = kind & 1;
    options.packed = kind & 2;
    options.half_width = kind & 4;
    options.x = kind & 8 ? DType::kF32 : DType::kI32;
    options.dtype = kind & 8 ? DType::kF32 : DType::kF16;
    options.angles = kind & 16 ? DType::kF32 : DType::kNone;
    options.index_dtype = kind & 4 ? DType::kI64 : DType::kI32;
    options.cache_dtype = kind % 3 == 0 ? DType::kBF16 : kind % 3 == 1 ? DType::kI8 : DType::kF32;
    options.scales = kind % 3 != 1 ? workload::Scales::kChannel
                     : kind & 2    ? workload::Scales::kHead
                                   : workload::Scales::kTensor;
    SCOPED_TRACE(kind);
    const Case made = workload::Generate(options);
    WriteCase(path, made);
    CaseFile file(path);
    EXPECT_EQ(file.note(), "");
    file.ToPlan();
    ExpectSame(file.Load(), made);
  }
}

// A case that has none of this is written as ever.
TEST(CaseFeatures, AreAbsentFromPlainCases) {
  const BentCase plain([](Parts* parts) {
    EXPECT_EQ(parts->metadata.count("rotary_dim"), 0u);
    EXPECT_EQ(parts->metadata.count("rotary_style"), 0u);
    EXPECT_EQ(parts->metadata.count("dtype"), 0u);
  });
  EXPECT_EQ(plain.Note(), "");
}

TEST(CaseFeatures, IndicesMayBeInt64AndTwoDimensional) {
  workload::GenerateOptions options = Small();
  options.cache = CacheLayout::kPaged;
  options.positions = true;
  options.index_dtype = DType::kI64;
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{2, 3}, {6, 1}, {1, 6}, {6}}) {
    const BentCase bent(
        [&](Parts* parts) {
          (*parts)["indices"].shape = shape;
          (*parts)["positions"].shape = shape;
        },
        workload::Generate(options));
    const Case loaded = bent.Load();
    EXPECT_EQ(loaded.spec.indices.rank, static_cast<int>(shape.size()));
    const Plan plan = ValueOrThrow(MakePlan(loaded.spec));
    ThrowIfError(ropekv::Run(plan, loaded.args()));
    ThrowIfError(ropekv::Run(ValueOrThrow(MakePlan(bent.made().spec)), bent.made().args()));
    for (const TensorId id : {TensorId::kQ, TensorId::kKCache}) {
      const workload::Buffer& expected = bent.made()[id];
      EXPECT_EQ(std::memcmp(loaded[id].data(), expected.data(), expected.size()), 0);
    }
  }
}

// The dtype of the outputs, which an i32 x and f32 cos leave open.
TEST(CaseFeatures, OutputsOfInt32HaveTheDTypeAskedFor) {
  workload::GenerateOptions options = Small();
  options.x = DType::kI32;
  options.angles = DType::kF32;
  const auto read = [&](const std::function<void(Parts*)>& bend) {
    const BentCase bent(bend, workload::Generate(options));
    return CaseFile(bent.path()).spec.q.dtype;
  };
  options.dtype = DType::kBF16;
  EXPECT_EQ(read([](Parts*) {}), DType::kBF16);
  EXPECT_EQ(read([](Parts* parts) { parts->metadata["dtype"] = "float16"; }), DType::kF16);
  EXPECT_EQ(read([](Parts* parts) { parts->metadata.erase("dtype"); }), DType::kF32);
}

TEST(CaseFeatures, MetadataIsChecked) {
  const auto refusal = [](const std::string& key, const std::string& value) {
    return Refusal([&](Parts* parts) { parts->metadata[key] = value; });
  };
  EXPECT_EQ(refusal("rotary_dim", "64x"), "metadata 'rotary_dim': '64x' is not an integer");
  EXPECT_EQ(refusal("rotary_dim", ""), "metadata 'rotary_dim': '' is not an integer");
  EXPECT_THAT(refusal("rotary_dim", "-2"), StartsWith("rotary_dim: is -2; must be even"));
  EXPECT_THAT(refusal("rotary_dim", "130"), StartsWith("rotary_dim: is 130; must be even"));
  EXPECT_EQ(refusal("rotary_style", "neox"),
            "metadata 'rotary_style': 'neox' is not half or interleaved");
  EXPECT_EQ(refusal("dtype", "i8"), "metadata 'dtype': 'i8' is not f16, bf16 or f32");
  EXPECT_THAT(refusal("dtype", "f32"), StartsWith("cos: "));  // f16, as the outputs were
}

TEST(CaseFeatures, ADTypeThatXDoesNotHaveIsRefused) {
  const BentCase bent([](Parts* parts) { parts->metadata["dtype"] = "bf16"; },
                      SmallCase(DType::kF16, DType::kF16));
  try {
    CaseFile(bent.path()).ToPlan();
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr(": q: "));
  }
}

TEST(CaseFeatures, PackedCosAndSinAreChecked) {
  const auto refusal = [](std::vector<int64_t> shape) {
    return Refusal([&](Parts* parts) {
      parts->Drop("sin");
      StoredTensor& angles = (*parts)["cos"];
      angles.name = "cos_sin";
      angles.shape = shape;
      int64_t bytes = 2;
      for (const int64_t extent : shape) bytes *= extent;
      parts->bytes[&angles - parts->tensors.data()].resize(bytes);
    });
  };
  EXPECT_EQ(refusal({2, 3, 1, 256}), "");
  EXPECT_EQ(refusal({2, 3, 1, 128}), "");  // an entry a pair
  EXPECT_EQ(refusal({2, 3, 1, 255}),
            "tensor 'cos_sin': has shape [2, 3, 1, 255]; its last dimension must be cos and sin");
  EXPECT_EQ(refusal({}), "tensor 'cos_sin': has shape []; its last dimension must be cos and sin");
  EXPECT_THAT(refusal({256}), StartsWith("cos: has shape [128]"));
  EXPECT_THAT(refusal({2, 3, 1, 0}), StartsWith("cos: has shape [2, 3, 1, 0]"));
  EXPECT_EQ(Refusal([](Parts* parts) {
              parts->Add({.name = "cos_sin", .dtype = "F16", .shape = {2}}, "0123");
            }),
            "tensor 'cos_sin': holds cos and sin, and there is a tensor 'cos'");
}

TEST(CaseFeatures, ScalesOfAFloatCacheAreRefused) {
  EXPECT_THAT(Refusal([](Parts* parts) {
                for (const char* name : {"k_cache", "v_cache"}) {
                  (*parts)[name].dtype = "F16";
                  std::string& bytes = parts->bytes[parts->At(name)];
                  bytes += std::string(bytes.size(), '\0');
                }
              }),
              StartsWith("scale_k: "));
}

}  // namespace
}  // namespace ropekv::cli
