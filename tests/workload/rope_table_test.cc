// SPDX-License-Identifier: Apache-2.0
#include "workload/rope_table.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace ropekv::workload {
namespace {

struct Expected {
  const char* model;
  size_t index;
  double frequency;
};

// From the formulas of the models' own code in binary64; for Llama-3.1 an unscaled frequency, some
// in the transition and two scaled ones, for gpt-oss, whose ramp goes from 8.09 to 17.40, likewise.
TEST(RopeTable, FrequenciesAreTheModels) {
  const Expected all[] = {
      {"Llama-2-7B", 0, 1.0},
      {"Llama-2-7B", 32, 1e-2},
      {"Qwen2.5-7B", 32, 1e-3},
      {"Gemma-3-4B", 0, 0.125},
      {"Gemma-3-4B", 64, 1.25e-4},
      {"Llama-3-8B", 63, 2.455140791131609e-06},
      {"Llama-3.1-8B", 28, 0.0032114459947525913},
      {"Llama-3.1-8B", 29, 0.002166570763503359},
      {"Llama-3.1-8B", 33, 0.00031269375038406517},
      {"Llama-3.1-8B", 35, 9.556212353964683e-05},
      {"Llama-3.1-8B", 63, 3.068925988914511e-07},
      {"GLM-4-9B-Chat", 1, 0.6175287581263234},
      {"GLM-4-9B-Chat", 31, 3.2387155637387736e-07},
      {"Phi-2", 15, 0.00017782794100389227},
      {"Qwen3.5-27B", 31, 1.6548170999431814e-07},
      {"SmolLM2-135M", 1, 0.6978305848598664},
      {"gpt-oss-20B", 0, 1.0},
      {"gpt-oss-20B", 8, 0.050813274815461475},
      {"gpt-oss-20B", 9, 0.03170569618466377},
      {"gpt-oss-20B", 12, 0.00679495948973222},
      {"gpt-oss-20B", 17, 0.00012931870124506317},
      {"gpt-oss-20B", 18, 3.8308812373753384e-05},
      {"gpt-oss-20B", 31, 3.0235114281192144e-07},
  };
  for (const Expected& expected : all) {
    const Model* model = FindModel(expected.model);
    ASSERT_NE(model, nullptr);
    const RopeTable table(*model);
    ASSERT_EQ(table.frequencies().size(), static_cast<size_t>(model->rotary_dim() / 2));
    EXPECT_EQ(table.frequencies()[expected.index], static_cast<float>(expected.frequency))
        << expected.model << " " << expected.index;
  }
}

TEST(RopeTable, RowsAreFullWidth) {
  const RopeTable table(*FindModel("Phi-3-mini"));
  std::vector<float> cos(96), sin(96);
  table.Row(0, cos, sin);
  EXPECT_EQ(cos, std::vector<float>(96, 1.0f));
  EXPECT_EQ(sin, std::vector<float>(96, 0.0f));
  table.Row(3, cos, sin);
  for (size_t i = 0; i < 48; ++i) {
    const double angle = 3 * std::pow(10000.0, -static_cast<double>(i) / 48);
    EXPECT_NEAR(cos[i], std::cos(angle), 1e-6);
    EXPECT_NEAR(sin[i], std::sin(angle), 1e-6);
    EXPECT_EQ(cos[i + 48], cos[i]);
    EXPECT_EQ(sin[i + 48], sin[i]);
  }
}

TEST(RopeTable, RowsHaveTheWidthAndOrderAskedFor) {
  Model model = *FindModel("GLM-4-9B-Chat");
  const RopeTable interleaved(model);
  model.rotation.style = RotaryStyle::kHalf;
  const RopeTable half(model);
  std::vector<float> a(64), b(64), pairs(32), unused(64), unused_pairs(32);
  interleaved.Row(5, a, unused);
  half.Row(5, b, unused);
  half.Row(5, pairs, unused_pairs);
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(a[2 * i], pairs[i]);
    EXPECT_EQ(a[2 * i + 1], pairs[i]);
    EXPECT_EQ(b[i], pairs[i]);
    EXPECT_EQ(b[i + 32], pairs[i]);
  }
  EXPECT_NE(pairs[0], pairs[1]);
}

TEST(RopeTable, YarnStretchesCosAndSin) {
  const RopeTable table(*FindModel("gpt-oss-20B"));
  EXPECT_EQ(table.amplitude(), 1.3465735902799727f);
  std::vector<float> cos(64), sin(64);
  table.Row(0, cos, sin);
  EXPECT_EQ(cos, std::vector<float>(64, 1.3465735902799727f));
  table.Row(2, cos, sin);
  EXPECT_NEAR(cos[0], 1.3465735902799727 * std::cos(2.0), 1e-6);
  EXPECT_NEAR(sin[0], 1.3465735902799727 * std::sin(2.0), 1e-6);
  EXPECT_EQ(RopeTable(*FindModel("Llama-3.1-8B")).amplitude(), 1.0f);
}

TEST(Models, AreFoundInAnyCase) {
  for (const Model& model : Models()) {
    std::string upper(model.name);
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    EXPECT_EQ(FindModel(upper), &model);
  }
  EXPECT_EQ(FindModel("llama-3-70b-tp8")->hidden(), 1280);
  EXPECT_EQ(FindModel("llama-3-8"), nullptr);
  EXPECT_EQ(FindModel(""), nullptr);
}

}  // namespace
}  // namespace ropekv::workload
