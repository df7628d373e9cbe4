// SPDX-License-Identifier: Apache-2.0
// Any Spec and any Args: MakePlan refuses, or Run and RunReference agree, on the same memory, to
// the byte or in what they refuse; with bound weights too. Every tensor ends or begins at a guard
// page.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "fuzz/fuzzed_spec.h"
#include "fuzz/places.h"
#include "fuzz/require.h"
#include "ropekv/ropekv.h"

namespace ropekv::testing {
namespace {

void RequireSame(const Status& actual, const Status& expected, const char* what) {
  Require(actual.code() == expected.code() && actual.tensor() == expected.tensor() &&
              actual.message() == expected.message(),
          what, actual.message() + " / " + expected.message());
}

bool CanPlanReturn(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
    case StatusCode::kNullPointer:
    case StatusCode::kBadDType:
    case StatusCode::kBadShape:
    case StatusCode::kDeviceLimit:
    case StatusCode::kBadOption: return true;
    default: return false;
  }
}

void RunBound(const Plan& plan, const Args& args, const RunOptions& options, Places& places) {
  const Result<Plan> bound = BindWeights(plan, args);
  Require(bound.ok(), "weights that Run takes can be bound", bound.status().message());
  Args others = args;
  for (const auto weight : {&Args::scale_k, &Args::scale_v, &Args::offset_k, &Args::offset_v,
                            &Args::weight_scale, &Args::bias}) {
    others.*weight = reinterpret_cast<const void*>(uintptr_t{1});
  }
  places.Restore();
  const Status status = Run(*bound, others, options);
  Require(status.ok(), "a bound plan runs", status.message());
  Require(places.HoldExpected(), "the bytes of a bound plan");
}

void TestOne(FuzzedDataProvider& in) {
  const Spec spec = FuzzedSpec(in);
  const Result<Plan> plan = MakePlan(spec);
  Require(CanPlanReturn(plan.status().code()), "the header lists the code",
          plan.status().message());
  Require(plan.ok() == plan.status().message().empty(), "errors have messages");
  if (!plan.ok()) return;
  const bool bind = in.ConsumeBool();
  const RunOptions options = FuzzedOptions(in, plan->num_tokens());
  static Places& places = *new Places;
  // Not of calls that are larger than memory, or as slow: strides of 0 can do that.
  if (!places.Place(spec, in)) return;
  const Args args = places.args();

  const Status actual = Run(*plan, args, options);
  places.TakeActual(actual.ok());
  RequireSame(CheckArgs(*plan, args, options), actual, "Run checks as CheckArgs does");
  places.Restore();
  const Status expected = RunReference(*plan, args, options);
  RequireSame(actual, expected, "Run and RunReference refuse alike");
  places.TakeExpected(expected.ok());
  Require(places.AreEqual(), "the bytes of Run and RunReference");
  if (bind && actual.ok()) RunBound(*plan, args, options, places);
}

}  // namespace
}  // namespace ropekv::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  ropekv::testing::TestOne(in);
  return 0;
}
