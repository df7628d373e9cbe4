// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/options.h"

#include <charconv>
#include <system_error>

#include "frontends/cli/choices.h"
#include "frontends/cli/errors.h"
#include "workload/case.h"

namespace ropekv::cli {

CLI::Option* AddInteger(CLI::App& app, const std::string& name, int64_t* value, int64_t low,
                        int64_t high, const std::string& description) {
  const auto check = [low, high](const std::string& text) {
    int64_t parsed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    const bool legal =
        error == std::errc() && end == text.data() + text.size() && parsed >= low && parsed <= high;
    return legal ? std::string()
                 : fmt::format("{} is not an integer from {} to {}", Quote(text), low, high);
  };
  return app.add_option(name, *value, description)->check(check)->option_text("N");
}

void ExecutionOptions::AddTo(CLI::App& app) {
  app.add_option(
         "--numerics", numerics,
         fmt::format("Rounding: {}; as the case says unless given", Words(kNumericsChoices)))
      ->option_text("NAME");
  AddInteger(app, "--threads", &threads, 0, 4096,
             "At most N; 0 or not given: as `ropekv info` counts");
  app.add_option("--target", target,
                 "Instruction set, as `ropekv info` names them; the best unless given")
      ->option_text("NAME");
}

void ExecutionOptions::Apply(Spec* spec) const {
  if (!numerics.empty()) spec->numerics = ParseChoice("--numerics", numerics, kNumericsChoices);
  const Result<Target> parsed = ParseTarget(target);
  if (!parsed.ok()) throw InputError("--target", parsed.status().detail());
  spec->target = *parsed;
}

std::string Describe(const Spec& spec) {
  const auto& x = spec.x.shape;
  const int64_t head_dim = spec.k_cache.shape[3];
  const std::string tokens =
      spec.x.rank == 3 ? fmt::format("{} x {}", x[0], x[1]) : fmt::format("{}", x[0]);
  std::string text = fmt::format("{} tokens, {} query and {} kv heads of {}", tokens,
                                 spec.size_splits[0] / head_dim, spec.k_cache.shape[2], head_dim);
  // What few calls have.
  if (spec.rotary_dim != 0 && spec.rotary_dim != head_dim) {
    text += fmt::format(", {} of them rotated", spec.rotary_dim);
  }
  if (spec.rotary_style != RotaryStyle::kHalf) {
    text += fmt::format(", {}", WordFor(spec.rotary_style, kStyleChoices));
  }
  text += fmt::format(", x {}, q {}", Name(spec.x.dtype), Name(spec.q.dtype));
  if (spec.cos.dtype != spec.q.dtype) text += fmt::format(", cos {}", Name(spec.cos.dtype));
  if (spec.positions.present()) text += fmt::format(", {} positions", spec.cos.shape[0]);
  text += fmt::format(", {} cache", WordFor(spec.cache_layout, kCacheChoices));
  if (spec.k_cache.dtype != DType::kI8) text += fmt::format(" of {}", Name(spec.k_cache.dtype));
  return text + fmt::format(", {} numerics", WordFor(spec.numerics, kNumericsChoices));
}

}  // namespace ropekv::cli
