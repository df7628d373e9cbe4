// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <limits>
#include <memory>

#include "frontends/cli/case_file.h"
#include "frontends/cli/choices.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/options.h"
#include "workload/generate.h"
#include "workload/models.h"

namespace ropekv::cli {
namespace {

constexpr char kFooter[] =
    R"(With --past N the first sequence has N tokens in the cache, the others N/2 to N.
Without --bias, a model that has one gets an f32 bias with --x i32; other dtypes of x take
none, since a bias is part of dequantising. A model's channels turn as its own code has it,
unless --rotary-dim or --rotary-style say otherwise.
cos and sin have a row for each token, or with --positions a row for each position, and then
the tensor positions says which of them a token has. --positions --packed --half-width is the
table of vLLM. A cache that is not i8 has no scales.

Models:
{}

Examples:
  ropekv gen --model llama-3-8b --batch 32 --past 1024 --x i32 --cache page \
    -o decode.safetensors
  ropekv gen --model qwen2.5-7b --seq 512 --x i32 --bias bf16 -o chunk.safetensors
  ropekv gen --model phi-3-mini --seq 64 --x f16 --offsets --kv-output --seed 7 \
    -o prefill.safetensors
  ropekv gen --model glm-4-9b-chat --batch 8 --past 500 --positions --angles f32 \
    --cache-dtype bf16 --index-dtype i64 -o glm.safetensors)";

using workload::GenerateOptions;

constexpr Choice<DType> kBiasChoices[] = {{"f32", DType::kF32, "float32"},
                                          {"f16", DType::kF16, "float16"},
                                          {"bf16", DType::kBF16, "bfloat16"},
                                          {"i32", DType::kI32, "int32"},
                                          {"none", DType::kNone}};

struct GenCommand {
  std::string model, x = "bf16", dtype, angles, cache = "contiguous", bias, output_path;
  std::string rotary_style, cache_dtype = "i8", index_dtype = "i32", scales = "channel";
  int64_t batch = 1, seq = 1, past = 0, block_size = 128, seed = 0, rotary_dim = 0;
  bool positions = false, packed = false, half_width = false;
  bool offsets = false, kv_output = false, scales_given = false;

  void SetModel(GenerateOptions* options) const;
  void SetDTypes(GenerateOptions* options) const;
  void SetCache(GenerateOptions* options) const;
  GenerateOptions ToOptions() const;
  void Execute() const;
};

// The models' names, in lines that begin with `indent`.
std::string ModelNames(std::string_view indent) {
  constexpr size_t kColumns = 80;
  std::string names;
  std::string line(indent);
  for (const workload::Model& model : workload::Models()) {
    const bool last = &model == &workload::Models().back();
    const std::string word = fmt::format("{}{}", model.name, last ? "" : ", ");
    if (line.size() + word.size() > kColumns) {
      line.back() = '\n';
      names += line;
      line = indent;
    }
    line += word;
  }
  return names + line;
}

void GenCommand::SetModel(GenerateOptions* options) const {
  const workload::Model* found = workload::FindModel(model);
  if (found == nullptr) {
    throw InputError("--model", fmt::format("{} is unknown; `ropekv gen --help` lists the models",
                                            Quote(model)));
  }
  options->model = *found;
  if (rotary_dim != 0) options->model.rotation.dim = rotary_dim;
  if (!rotary_style.empty()) {
    options->model.rotation.style = ParseChoice("--rotary-style", rotary_style, kStyleChoices);
  }
}

void GenCommand::SetDTypes(GenerateOptions* options) const {
  options->x = ParseChoice("--x", x, kXChoices);
  const bool quantised = options->x == DType::kI32;
  options->dtype = dtype.empty() ? (quantised ? DType::kBF16 : options->x)
                                 : ParseChoice("--dtype", dtype, kDTypeChoices);
  if (!quantised && options->dtype != options->x) {
    throw InputError("--dtype",
                     fmt::format("must be {}, as --x is, or --x must be i32", Name(options->x)));
  }
  if (!angles.empty()) options->angles = ParseChoice("--angles", angles, kDTypeChoices);
  if (options->angles != DType::kNone && options->angles != DType::kF32 &&
      options->angles != options->dtype) {
    throw InputError("--angles", fmt::format("must be {}, as q is, or f32", Name(options->dtype)));
  }
  options->index_dtype = ParseChoice("--index-dtype", index_dtype, kIndexChoices);
  if (!bias.empty()) {
    options->bias = ParseChoice("--bias", bias, kBiasChoices);
  } else if (quantised && options->model.qkv_bias) {
    options->bias = DType::kF32;
  }
  if (options->bias != DType::kNone && !quantised) {
    throw InputError("--bias", "is part of dequantising: it needs --x i32");
  }
}

void GenCommand::SetCache(GenerateOptions* options) const {
  options->cache = ParseChoice("--cache", cache, kCacheChoices);
  options->cache_dtype = ParseChoice("--cache-dtype", cache_dtype, kCacheDTypeChoices);
  options->scales = ParseChoice("--scales", scales, kScalesChoices);
  options->block_size = block_size;
  options->offsets = offsets;
  if (options->cache_dtype == DType::kI8) return;
  if (scales_given || offsets) {
    throw InputError(scales_given ? "--scales" : "--offsets",
                     fmt::format("a cache of {} has none", Name(options->cache_dtype)));
  }
}

GenerateOptions GenCommand::ToOptions() const {
  GenerateOptions options;
  SetModel(&options);
  SetDTypes(&options);
  SetCache(&options);
  options.batch = batch;
  options.seq = seq;
  options.past = past;
  options.positions = positions;
  options.packed = packed;
  options.half_width = half_width;
  options.kv_output = kv_output;
  options.seed = static_cast<uint64_t>(seed);
  return options;
}

void GenCommand::Execute() const {
  const GenerateOptions options = ToOptions();
  const Spec spec = workload::MakeSpec(options);
  CheckFitsInMemory("gen", spec);
  const int64_t slots = spec.k_cache.shape[0] * spec.k_cache.shape[1];
  if (options.index_dtype == DType::kI32 && slots > std::numeric_limits<int32_t>::max()) {
    throw InputError(
        "gen", fmt::format("a cache of {} slots, more than i32 indices can tell apart", slots));
  }
  ThrowIfError(MakePlan(spec).status());
  WriteCase(output_path, workload::Generate(options),
            fmt::format("{}: {}\n", options.model.name, Describe(spec)));
}

}  // namespace

void AddGen(CLI::App& app) {
  CLI::App* gen = app.add_subcommand("gen", "Make a case with the shapes of a model");
  const auto command = std::make_shared<GenCommand>();
  const auto choice = [gen](const char* name, std::string* value, const std::string& description) {
    return gen->add_option(name, *value, description);
  };
  choice("--model", &command->model, "One of the models below; upper and lower case are alike")
      ->required()
      ->option_text("NAME (required)");
  choice("-o,--output", &command->output_path, "Case file; - for stdout")
      ->required()
      ->option_text("FILE (required)");
  AddInteger(*gen, "--batch", &command->batch, 1, 1 << 20, "Sequences; 1 unless given");
  AddInteger(*gen, "--seq", &command->seq, 0, 1 << 24, "New tokens of each; 1 unless given");
  AddInteger(*gen, "--past", &command->past, 0, 1 << 24,
             "Tokens already cached, see below; 0 unless given");
  choice("--x", &command->x, Words(kXChoices) + "; bf16 unless given")->option_text("DTYPE");
  choice("--dtype", &command->dtype,
         Words(kDTypeChoices) + ", of cos, sin and outputs; as --x, bf16 for i32")
      ->option_text("DTYPE");
  choice("--angles", &command->angles, "f32, of cos and sin alone")->option_text("DTYPE");
  gen->add_flag("--positions", command->positions, "cos and sin by positions, see below");
  gen->add_flag("--packed", command->packed, "cos and sin as the halves of the rows of cos_sin");
  gen->add_flag("--half-width", command->half_width, "cos and sin with an entry a pair");
  AddInteger(*gen, "--rotary-dim", &command->rotary_dim, 2, 1 << 20,
             "Channels of a head that turn; the model's unless given");
  choice("--rotary-style", &command->rotary_style,
         Words(kStyleChoices) + "; the model's unless given")
      ->option_text("STYLE");
  choice("--index-dtype", &command->index_dtype,
         Words(kIndexChoices) + ", of indices and positions; i32 unless given")
      ->option_text("DTYPE");
  choice("--cache-dtype", &command->cache_dtype, Words(kCacheDTypeChoices) + "; i8 unless given")
      ->option_text("DTYPE");
  const CLI::Option* scales =
      choice("--scales", &command->scales,
             Words(kScalesChoices) + ": what has a scale; channel unless given")
          ->option_text("WHAT");
  choice("--cache", &command->cache, Words(kCacheChoices) + "; contiguous unless given")
      ->option_text("LAYOUT");
  AddInteger(*gen, "--block-size", &command->block_size, 1, 1 << 20,
             "Tokens in a block of a page cache; 128 unless given");
  choice("--bias", &command->bias, Words(kBiasChoices) + "; see below")->option_text("DTYPE");
  gen->add_flag("--offsets", command->offsets, "Quantise K and V with offsets");
  gen->add_flag("--kv-output", command->kv_output, "Ask for k and v as outputs, too");
  AddInteger(*gen, "--seed", &command->seed, 0, std::numeric_limits<int64_t>::max(),
             "0 unless given; the same seed gives the same file");
  gen->footer(fmt::format(kFooter, ModelNames("  ")));
  gen->callback([command, scales] {
    command->scales_given = scales->count() > 0;
    command->Execute();
  });
}

}  // namespace ropekv::cli
