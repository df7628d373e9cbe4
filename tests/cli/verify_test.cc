// SPDX-License-Identifier: Apache-2.0
// `ropekv verify` over random cases that span every variant, target and kind of number.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "frontends/cli/case_file.h"
#include "support/sampler.h"
#include "support/share.h"
#include "tests/cli/command.h"
#include "workload/case.h"

namespace ropekv::testing {
namespace {

constexpr int kCasesPerFlavour = 24;  // 6 variants * 4 flavours * 24 = 576 cases

// The sampled Spec's tensors, row-major, as a case file wants them.
workload::Case MakeCase(const Spec& spec, Flavour flavour, Rng& rng) {
  workload::Case made = workload::Allocate(spec);
  for (const TensorField& field : kTensorFields) {
    if (!(spec.*field.spec).present()) continue;
    workload::Buffer& buffer = made[field.id];
    if (field.output) {
      buffer.Fill(0x5A);
    } else {
      FillInput(rng, spec, field.id, flavour, buffer.data());
    }
  }
  return made;
}

int64_t CountOutputElements(const Spec& spec) {
  int64_t count = 0;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    if (field.output && tensor.present()) count += workload::NumElements(tensor);
  }
  return count;
}

class VerifyTest : public ::testing::TestWithParam<Variant> {};

TEST_P(VerifyTest, NoMismatch) {
  const cli::Scratch scratch;
  const std::string path = scratch / "case.safetensors";
  for (const Flavour flavour : kFlavours) {
    int64_t written = 0;
    for (int i = 0; i < Share(kCasesPerFlavour, 4); ++i) {
      const uint64_t seed = 5000 + 100 * static_cast<uint64_t>(flavour) + static_cast<uint64_t>(i);
      SCOPED_TRACE(::testing::Message() << Name(flavour) << " seed " << seed);
      Rng rng(seed);
      constexpr SampleOptions kOptions = {.strided = false};
      Spec spec = SampleSpec(rng, GetParam(), kOptions);
      // A call without a single output element is refused: there is nothing to verify.
      while (workload::NumElements(spec.k_cache) == 0) {
        spec = SampleSpec(rng, GetParam(), kOptions);
      }
      cli::WriteCase(path, MakeCase(spec, flavour, rng));
      const auto targets = UsableTargets();
      const Target target = targets[static_cast<size_t>(i) % targets.size()];
      const cli::Outcome outcome =
          cli::Ropekv("verify '" + path + "' --json --target " + Name(target) + " --threads " +
                      std::to_string(1 + i % 3));
      ASSERT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
      const auto report = nlohmann::json::parse(outcome.out);
      ASSERT_EQ(report["mismatches"], 0);
      ASSERT_EQ(report["elements"], CountOutputElements(spec));
      for (const auto& output : report["outputs"]) written += output["written"].get<int64_t>();
    }
    EXPECT_GT(written, Share(50000)) << Name(flavour);
  }
}

INSTANTIATE_TEST_SUITE_P(All, VerifyTest, ::testing::ValuesIn(AllVariants()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace ropekv::testing
