// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/case_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "frontends/cli/errors.h"
#include "tests/cli/scratch.h"
#include "workload/generate.h"

namespace ropekv::cli {
namespace {

using testing::HasSubstr;
using workload::Case;

Case SmallCase(DType x = DType::kI32, DType dtype = DType::kF16,
               CacheLayout cache = CacheLayout::kPaged) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-70B-TP8");
  options.batch = 2;
  options.seq = 3;
  options.x = x;
  options.dtype = dtype;
  options.cache = cache;
  options.block_size = 4;
  options.bias = x == DType::kI32 ? DType::kBF16 : DType::kNone;
  options.offsets = x == DType::kI32;
  options.kv_output = x == DType::kF16;
  return workload::Generate(options);
}

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
        const CaseFile file(path);
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

// A case file, taken apart so that a test can bend it.
struct Parts {
  std::vector<StoredTensor> tensors;  // offsets unused
  std::vector<std::string> bytes;
  Metadata metadata;

  StoredTensor& operator[](std::string_view name) {
    for (StoredTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }
};

Parts TakeApart(const std::string& path) {
  const SafetensorsReader reader(path);
  Parts parts{.tensors = reader.tensors(), .bytes = {}, .metadata = reader.metadata()};
  for (const StoredTensor& tensor : parts.tensors) {
    std::string bytes(tensor.end - tensor.begin, '\0');
    reader.Read(tensor, std::as_writable_bytes(std::span(bytes)));
    parts.bytes.push_back(bytes);
  }
  return parts;
}

void Write(const std::string& path, const Parts& parts) {
  std::vector<TensorView> views;
  for (size_t i = 0; i < parts.tensors.size(); ++i) {
    const StoredTensor& tensor = parts.tensors[i];
    views.push_back(
        {tensor.name, tensor.dtype, tensor.shape, std::as_bytes(std::span(parts.bytes[i]))});
  }
  WriteSafetensors(path, std::move(views), parts.metadata);
}

// What reading and planning a bent case says, without the path.
std::string Refusal(const std::function<void(Parts*)>& bend) {
  const Scratch scratch;
  const std::string path = scratch / "case";
  WriteCase(path, SmallCase());
  Parts parts = TakeApart(path);
  bend(&parts);
  Write(path, parts);
  try {
    const CaseFile file(path);
    ThrowIfError(MakePlan(file.spec).status());
  } catch (const InputError& error) {
    const std::string what = error.what();
    return what.starts_with(path + ": ") ? what.substr(path.size() + 2) : what;
  }
  return "";
}

std::string MetadataRefusal(const std::string& key, const std::string& value) {
  return Refusal([&](Parts* parts) { parts->metadata[key] = value; });
}

TEST(CaseFile, AttributesAreChecked) {
  EXPECT_EQ(MetadataRefusal("cache_mode", "paged"),
            "metadata 'cache_mode': 'paged' is not contiguous or page");
  EXPECT_EQ(MetadataRefusal("kv_output", "True"),
            "metadata 'kv_output': 'True' is not false or true");
  EXPECT_EQ(MetadataRefusal("numerics", "fp32"),
            "metadata 'numerics': 'fp32' is not float32 or ascend");
  EXPECT_EQ(MetadataRefusal("quant_mode", "dynamic"),
            "metadata 'quant_mode': 'dynamic' is not static");
  EXPECT_EQ(MetadataRefusal("layout", "BNSD"), "metadata 'layout': 'BNSD' is not BSND");
  EXPECT_EQ(MetadataRefusal("cachemode", "page"),
            "metadata 'cachemode': not one of a case file's: size_splits, cache_mode, kv_output, "
            "quant_mode, layout, numerics");
  EXPECT_EQ(Refusal([](Parts* parts) { parts->metadata.erase("size_splits"); }),
            "metadata 'size_splits' is missing");
}

TEST(CaseFile, AttributesHaveDefaults) {
  const Scratch scratch;
  WriteCase(scratch / "case", SmallCase(DType::kBF16, DType::kBF16, CacheLayout::kContiguous));
  Parts parts = TakeApart(scratch / "case");
  parts.metadata = {{"size_splits", "1024, 128, 128"}, {"format", "pt"}};
  Write(scratch / "case", parts);
  const Spec spec = CaseFile(scratch / "case").spec;
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

TEST(CaseFile, UnknownTensorsAreRefused) {
  for (const char* name : {"q", "X", "positions", ""}) {
    const std::string refusal = Refusal([name](Parts* parts) { (*parts)["bias"].name = name; });
    EXPECT_EQ(refusal, "tensor '" + std::string(name) +
                           "': not one of a case file's: x, cos, sin, k_cache, v_cache, indices, "
                           "scale_k, scale_v, offset_k, offset_v, weight_scale, activation_scale, "
                           "bias");
  }
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
    return Refusal([name](Parts* parts) {
      const size_t i = &(*parts)[name] - parts->tensors.data();
      parts->tensors.erase(parts->tensors.begin() + static_cast<int>(i));
      parts->bytes.erase(parts->bytes.begin() + static_cast<int>(i));
    });
  };
  const auto reshape = [](const char* name, std::vector<int64_t> shape) {
    return Refusal([&](Parts* parts) {
      StoredTensor& tensor = (*parts)[name];
      int64_t bytes = ElementBytes(tensor.dtype);
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

TEST(ResultFile, MustHaveExactlyTheOutputs) {
  const Scratch scratch;
  const Case made = SmallCase(DType::kF16, DType::kF16);
  WriteResult(scratch / "out", made);
  const workload::Buffers read = ReadResult(scratch / "out", made.spec);
  for (const TensorField& field : kTensorFields) {
    const int64_t size = field.output ? made[field.id].size() : 0;
    ASSERT_EQ(read[static_cast<int>(field.id)].size(), size) << field.name;
  }
  const auto refusal = [&](const std::function<void(Parts*)>& bend) -> std::string {
    Parts parts = TakeApart(scratch / "out");
    bend(&parts);
    Write(scratch / "bent", parts);
    try {
      ReadResult(scratch / "bent", made.spec);
    } catch (const InputError& error) {
      return std::string(error.what()).substr((scratch / "bent: ").size());
    }
    return "";
  };
  EXPECT_EQ(refusal([](Parts* parts) { (*parts)["k"].name = "kk"; }),
            "tensor 'kk': not one of a result file's: k_cache, v_cache, q, k, v");
  EXPECT_EQ(refusal([](Parts* parts) {
              parts->tensors.pop_back();
              parts->bytes.pop_back();
            }),
            "tensor 'v_cache': missing");
  EXPECT_EQ(refusal([](Parts* parts) { (*parts)["q"].dtype = DType::kBF16; }),
            "tensor 'q': is bf16 [2, 3, 8, 128], the case makes f16 [2, 3, 8, 128]");
  EXPECT_EQ(refusal([](Parts* parts) {
              (*parts)["q"].shape = {6, 8, 128};
            }),
            "tensor 'q': is f16 [6, 8, 128], the case makes f16 [2, 3, 8, 128]");
  EXPECT_EQ(refusal([](Parts* parts) { parts->metadata["anything"] = "goes"; }), "");
}

TEST(ResultFile, KAndVOnlyWithKvOutput) {
  const Scratch scratch;
  Case made = SmallCase(DType::kF16, DType::kF16);
  WriteResult(scratch / "out", made);
  made.spec.kv_output = false;
  made.spec.k = made.spec.v = {};
  EXPECT_THROW(ReadResult(scratch / "out", made.spec), InputError);
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
