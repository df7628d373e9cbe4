// SPDX-License-Identifier: Apache-2.0
// The extension module ropekv._core. The functions that people call are in Python, in the modules
// beside it; here tensors come as one tuple, in the order of TENSORS.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "frontends/python/src/call.h"
#include "frontends/python/src/words.h"
#include "ropekv/ropekv.h"

namespace ropekv::python {
namespace {

// What of a Spec is no tensor: size_splits, rotary_dim, rotary_style, cache_mode, kv_output,
// numerics, strict_device_limits, target.
using Attributes = std::tuple<nb::object, int64_t, std::string_view, std::string_view, bool,
                              std::string_view, bool, std::string_view>;

std::array<int64_t, 3> ReadSizeSplits(nb::handle sizes) {
  std::array<int64_t, 3> read{};
  if (const size_t count = nb::len(sizes); count != read.size()) {
    throw nb::value_error(
        ("size_splits: has " + std::to_string(count) + " entries; must have 3").c_str());
  }
  for (size_t i = 0; i < read.size(); ++i) read[i] = nb::cast<int64_t>(nb::int_(sizes[i]));
  return read;
}

Spec MakeSpec(const Attributes& attributes) {
  const auto& [size_splits, rotary_dim, rotary_style, cache_mode, kv_output, numerics,
               strict_device_limits, target] = attributes;
  Spec spec;
  spec.size_splits = ReadSizeSplits(size_splits);
  spec.rotary_dim = rotary_dim;
  spec.rotary_style = ParseRotaryStyle(rotary_style);
  spec.cache_layout = ParseCacheMode(cache_mode);
  spec.kv_output = kv_output;
  spec.numerics = ParseNumerics(numerics);
  spec.strict_device_limits = strict_device_limits;
  const Result<Target> parsed = ParseTarget(target);
  ThrowIfError(parsed.status());
  spec.target = *parsed;
  return spec;
}

Plan MakePlanOrThrow(const Spec& spec) {
  Result<Plan> plan = MakePlan(spec);
  ThrowIfError(plan.status());
  return std::move(plan).value();
}

nb::tuple CallOnce(Action action, nb::tuple tensors, const Attributes& attributes, int num_threads,
                   bool check_duplicate_slots) {
  Spec spec = MakeSpec(attributes);
  Call call(std::move(tensors));
  call.Describe(&spec);
  return call.Do(action, MakePlanOrThrow(spec),
                 {.num_threads = num_threads, .check_duplicate_slots = check_duplicate_slots});
}

class PythonPlan {
 public:
  PythonPlan(nb::tuple tensors, const Attributes& attributes)
      : spec_(MakeSpec(attributes)), plan_(Planned(std::move(tensors), &spec_)) {}

  nb::tuple Do(Action action, nb::tuple tensors, int num_threads, int64_t token_begin,
               int64_t token_end, bool check_duplicate_slots) const {
    Call call(std::move(tensors));
    call.MustMatch(spec_, owned_);
    return call.Do(action, plan_,
                   {.num_threads = num_threads,
                    .token_begin = token_begin,
                    .token_end = token_end,
                    .check_duplicate_slots = check_duplicate_slots});
  }

  // `tensors` has the weights, and None for all others.
  PythonPlan Bind(nb::tuple tensors) const {
    Call call(std::move(tensors));
    Spec weights = spec_;
    std::array<bool, kNumTensors> owned = owned_;
    for (size_t i = 0; i < kTensorFields.size(); ++i) {
      const auto input = kTensorFields[i].input;
      const bool is_weight = input == &Args::scale_k || input == &Args::scale_v ||
                             input == &Args::offset_k || input == &Args::offset_v ||
                             input == &Args::weight_scale || input == &Args::bias;
      if (is_weight) {
        owned[i] = (spec_.*kTensorFields[i].spec).present();
      } else {
        weights.*kTensorFields[i].spec = TensorSpec{};
      }
    }
    call.MustMatch(weights, owned_);
    Result<Plan> bound = BindWeights(plan_, call.args());
    ThrowIfError(bound.status());
    PythonPlan made = *this;
    made.plan_ = std::move(bound).value();
    made.owned_ = owned;
    return made;
  }

  int64_t num_tokens() const { return plan_.num_tokens(); }
  std::string target() const { return Name(plan_.target()); }

 private:
  static Plan Planned(nb::tuple tensors, Spec* spec) {
    Call(std::move(tensors)).Describe(spec);
    return MakePlanOrThrow(*spec);
  }

  Spec spec_;  // as it was given: the plan's own lacks what it ignores
  Plan plan_;
  std::array<bool, kNumTensors> owned_{};  // the weights that it is bound to
};

std::vector<std::string> Names(std::span<const Target> targets) {
  std::vector<std::string> names;
  for (const Target target : targets) names.push_back(Name(target));
  return names;
}

}  // namespace

NB_MODULE(_core, module) {
  nb::list tensors;
  for (const TensorField& field : kTensorFields) tensors.append(field.name);
  module.attr("TENSORS") = nb::tuple(tensors);
  module.attr("VERSION") = Version();
  nb::enum_<Action>(module, "Action")
      .value("RUN", Action::kRun)
      .value("REFERENCE", Action::kReference)
      .value("CHECK", Action::kCheck);
  module.def("call", &CallOnce);
  module.def("usable_targets", [] { return Names(UsableTargets()); });
  module.def("built_targets", [] { return Names(BuiltTargets()); });
  nb::class_<PythonPlan>(module, "Plan")
      .def(nb::init<nb::tuple, const Attributes&>())
      .def("call", &PythonPlan::Do)
      .def("bind", &PythonPlan::Bind)
      .def_prop_ro("num_tokens", &PythonPlan::num_tokens)
      .def_prop_ro("target", &PythonPlan::target);
}

}  // namespace ropekv::python
