// SPDX-License-Identifier: Apache-2.0
// Cases that other programs write: all that can be understood is read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "tests/cli/bent_case.h"

namespace ropekv::cli {
namespace {

using workload::Buffer;
using workload::Case;

void ExpectSameBytes(const Case& a, const Case& b) {
  for (const TensorField& field : kTensorFields) {
    ASSERT_EQ(a[field.id].size(), b[field.id].size()) << field.name;
    if (a[field.id].size() == 0) continue;
    EXPECT_EQ(std::memcmp(a[field.id].data(), b[field.id].data(), a[field.id].size()), 0)
        << field.name;
  }
}

TEST(ForeignCase, OddSpellingIsRemarkedOn) {
  const BentCase bent([](Parts* parts) {
    parts->metadata["kv_output"] = "True";
    parts->metadata["cache_mode"] = "paged";
    parts->metadata["numerics"] = "Ascend";
  });
  const Spec spec = CaseFile(bent.path()).spec;
  EXPECT_TRUE(spec.kv_output);
  EXPECT_EQ(spec.cache_layout, CacheLayout::kPaged);
  EXPECT_EQ(spec.numerics, Numerics::kAscend);
  EXPECT_EQ(bent.Note(),
            "metadata 'cache_mode': 'paged' is read as page; metadata 'kv_output': 'True' is read "
            "as true; metadata 'numerics': 'Ascend' is read as ascend");
}

TEST(ForeignCase, WhatNoCaseHasIsRemarkedOn) {
  const BentCase bent([](Parts* parts) {
    parts->metadata["step"] = "7";
    parts->metadata["format"] = "pt";
    parts->Add({.name = "logits", .dtype = "I64", .shape = {1}}, "01234567");
    parts->Add({.name = "half a byte\n", .dtype = "F4", .shape = {2}}, "0");
    parts->Add({.name = "q", .dtype = "F64", .shape = {1, 1, 1, 1, 1}}, "01234567");
  });
  EXPECT_EQ(bent.Note(),
            "tensor 'logits' is not used; tensor 'half a byte\\x0a' is not used; "
            "tensor 'q' is not used; metadata 'step' is not used");
  ExpectSameBytes(bent.Load(), bent.made());
}

TEST(ForeignCase, RemarksAreFew) {
  const BentCase bent([](Parts* parts) {
    for (int i = 0; i < 100; ++i) parts->metadata["key" + std::to_string(100 + i)] = "";
  });
  EXPECT_THAT(bent.Note(), testing::EndsWith("metadata 'key107' is not used; and 92 more"));
}

// As MLX writes them: in alphabetical order, each where the one before happens to end.
TEST(ForeignCase, TensorsMayBeInAnyOrder) {
  const BentCase bent([](Parts* parts) {
    Parts sorted{.tensors = {}, .bytes = {}, .metadata = parts->metadata};
    sorted.Add({.name = "a", .dtype = "U8", .shape = {3}}, "odd");
    std::map<std::string, size_t> order;
    for (const StoredTensor& tensor : parts->tensors) order[tensor.name] = parts->At(tensor.name);
    for (const auto& [name, i] : order) sorted.Add(parts->tensors[i], parts->bytes[i]);
    *parts = sorted;
  });
  ExpectSameBytes(bent.Load(), bent.made());
}

// Appends the bytes of `value`.
template <class T>
void Append(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// The same call with the scales written out and with them shared gives the same bytes.
TEST(ForeignCase, ScalesMayBeShared) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-8B");
  options.batch = 3;
  options.seq = 2;
  options.x = DType::kI32;
  options.offsets = true;
  const float values[] = {0.5f, 0.25f, 0.75f, 2.0f, 0.125f, 1.0f, 0.375f, 3.0f};
  for (const bool by_head : {false, true}) {
    Case whole = workload::Generate(options);
    const auto fill = [&](TensorId id, int64_t rows) {
      const Buffer& buffer = whole[id];
      const int64_t count = buffer.size() / 4;
      for (int64_t i = 0; i < count; ++i) buffer.as<float>()[i] = values[i / (count / rows)];
    };
    const TensorId channels[] = {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK,
                                 TensorId::kOffsetV};
    for (TensorId id : channels) fill(id, by_head ? 8 : 1);
    fill(TensorId::kWeightScale, 1);
    fill(TensorId::kActivationScale, 1);
    const BentCase bent(
        [&](Parts* parts) {
          for (const char* name :
               {"scale_k", "scale_v", "offset_k", "offset_v", "weight_scale", "activation_scale"}) {
            const bool heads = by_head && parts->tensors[parts->At(name)].shape.size() == 2;
            (*parts)[name].shape = heads ? std::vector<int64_t>{8, 1} : std::vector<int64_t>{1};
            std::string& bytes = parts->bytes[parts->At(name)];
            bytes.clear();
            for (int i = 0; i < (heads ? 8 : 1); ++i) Append(values[i], &bytes);
          }
        },
        std::move(whole));
    const Case loaded = bent.Load();
    EXPECT_EQ(workload::NumElements(loaded.spec.scale_k), by_head ? 8 : 1);
    ThrowIfError(ropekv::Run(ValueOrThrow(MakePlan(loaded.spec)), loaded.args()));
    ThrowIfError(ropekv::Run(ValueOrThrow(MakePlan(bent.made().spec)), bent.made().args()));
    for (TensorId id : {TensorId::kQ, TensorId::kKCache, TensorId::kVCache}) {
      const Buffer& expected = bent.made()[id];
      EXPECT_EQ(std::memcmp(loaded[id].data(), expected.data(), expected.size()), 0);
    }
  }
}

TEST(ForeignCase, OtherScalesAreRefused) {
  const auto reshape = [](std::vector<int64_t> shape) {
    return Refusal([&](Parts* parts) {
      (*parts)["scale_k"].shape = shape;
      parts->bytes[parts->At("scale_k")].resize(4 * shape[0]);
    });
  };
  EXPECT_EQ(reshape({1}), "");
  EXPECT_EQ(reshape({1, 1}), "");
  EXPECT_THAT(reshape({2}), testing::StartsWith("scale_k: has shape [2]; must be"));
  EXPECT_THAT(reshape({2, 1}), testing::StartsWith("scale_k: has shape [2, 1]; must be"));
  EXPECT_THAT(reshape({1, 1, 1}), testing::StartsWith("scale_k: has shape [1, 1, 1]; must be"));
}

TEST(ForeignCase, DTypesSayWhatTheyMustBe) {
  const auto refusal = [](const char* name, const char* dtype) {
    return Refusal([&](Parts* parts) {
      (*parts)[name].dtype = dtype;
      (*parts)[name].shape = {0};
      parts->bytes[parts->At(name)].clear();
    });
  };
  EXPECT_EQ(refusal("x", "F64"), "tensor 'x': has dtype 'F64'; must be one of I32, F16, BF16, F32");
  EXPECT_EQ(refusal("cos", "F64"), "tensor 'cos': has dtype 'F64'; must be one of F16, BF16, F32");
  EXPECT_EQ(refusal("sin", "I8"), "tensor 'sin': has dtype 'I8'; must be one of F16, BF16, F32");
  EXPECT_EQ(refusal("k_cache", "F8_E4M3"),
            "tensor 'k_cache': has dtype 'F8_E4M3'; must be one of I8, F16, BF16, F32");
  EXPECT_EQ(refusal("v_cache", "U8"),
            "tensor 'v_cache': has dtype 'U8'; must be one of I8, F16, BF16, F32");
  EXPECT_EQ(refusal("indices", "U32"),
            "tensor 'indices': has dtype 'U32'; must be one of I32, I64");
  for (const char* name :
       {"scale_k", "scale_v", "offset_k", "offset_v", "weight_scale", "activation_scale"}) {
    EXPECT_EQ(refusal(name, "f32"),
              "tensor '" + std::string(name) + "': has dtype 'f32'; must be F32");
  }
  EXPECT_EQ(refusal("bias", "I64"),
            "tensor 'bias': has dtype 'I64'; must be one of F32, F16, BF16, I32");
}

}  // namespace
}  // namespace ropekv::cli
