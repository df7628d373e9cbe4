// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/case_file.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <ranges>
#include <system_error>

#include "frontends/cli/choices.h"
#include "frontends/cli/errors.h"

namespace ropekv::cli {
namespace {

using workload::Buffer;
using workload::Buffers;
using workload::Case;

constexpr Choice<int> kQuantModes[] = {{"static", 0}};
constexpr Choice<int> kLayouts[] = {{"BSND", 0}};

// The tensors of a case file are the inputs and the caches before the call.
bool BelongsToCase(const TensorField& field) { return field.input || workload::IsCache(field.id); }
bool BelongsToResult(const TensorField& field) { return field.output != nullptr; }

template <class Belongs>
std::string Names(Belongs belongs) {
  std::string names;
  for (const TensorField& field : kTensorFields) {
    if (belongs(field)) names += fmt::format("{}{}", names.empty() ? "" : ", ", field.name);
  }
  return names;
}

template <class Belongs>
const TensorField& FindField(const std::string& path, const std::string& name, Belongs belongs,
                             std::string_view file_kind) {
  for (const TensorField& field : kTensorFields) {
    if (belongs(field) && field.name == name) return field;
  }
  throw InputError(path, fmt::format("tensor {}: not one of a {} file's: {}", Quote(name),
                                     file_kind, Names(belongs)));
}

TensorSpec ToTensorSpec(const std::string& path, const StoredTensor& stored) {
  const auto& shape = stored.shape;
  if (shape.size() > TensorSpec::kMaxRank) {
    throw InputError(path, fmt::format("tensor {}: its rank is {}, at most {} is legal",
                                       Quote(stored.name), shape.size(), TensorSpec::kMaxRank));
  }
  TensorSpec tensor;
  tensor.dtype = stored.dtype;
  tensor.rank = static_cast<int>(shape.size());
  int64_t stride = 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    tensor.shape[i] = shape[i];
    tensor.stride[i] = stride;
    // 1 for an empty dimension, so that the product never overflows.
    stride *= std::max<int64_t>(shape[i], 1);
  }
  return tensor;
}

std::array<int64_t, 3> ParseSplits(const std::string& culprit, const std::string& text) {
  std::array<int64_t, 3> splits{};
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  for (size_t i = 0; i < splits.size(); ++i) {
    if (i > 0 && next != end && *next == ',') ++next;
    while (next != end && *next == ' ') ++next;
    const auto [stop, error] = std::from_chars(next, end, splits[i]);
    const bool separated = i + 1 == splits.size() ? stop == end : stop != end && *stop == ',';
    if (error != std::errc() || !separated) {
      throw InputError(culprit,
                       fmt::format("{} is not three integers such as 1024,128,128", Quote(text)));
    }
    next = stop;
  }
  return splits;
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// Sets the attributes of *spec from `metadata`. `format` is what PyTorch's writer adds.
void ParseAttributes(const std::string& path, const Metadata& metadata, Spec* spec) {
  if (metadata.count("size_splits") == 0) {
    throw InputError(path, "metadata 'size_splits' is missing");
  }
  for (const auto& [key, value] : metadata) {
    const std::string culprit = fmt::format("{}: metadata {}", path, Quote(key));
    if (key == "size_splits") {
      spec->size_splits = ParseSplits(culprit, value);
    } else if (key == "cache_mode") {
      spec->cache_layout = ParseChoice(culprit, Lower(value), kCacheChoices);
    } else if (key == "kv_output") {
      spec->kv_output = ParseChoice(culprit, value, kBoolChoices);
    } else if (key == "numerics") {
      spec->numerics = ParseChoice(culprit, value, kNumericsChoices);
    } else if (key == "quant_mode") {
      ParseChoice(culprit, value, kQuantModes);
    } else if (key == "layout") {
      ParseChoice(culprit, value, kLayouts);
    } else if (key != "format") {
      throw InputError(culprit,
                       "not one of a case file's: size_splits, cache_mode, kv_output, "
                       "quant_mode, layout, numerics");
    }
  }
}

std::span<std::byte> BytesOf(const Buffer& buffer) {
  return {buffer.data(), static_cast<size_t>(buffer.size())};
}

template <class Belongs>
void WriteTensors(const std::string& path, const Case& written, Belongs belongs,
                  const Metadata& metadata, const std::string& report) {
  std::vector<TensorView> tensors;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = written.spec.*field.spec;
    if (!belongs(field) || !tensor.present()) continue;
    tensors.push_back({.name = field.name,
                       .dtype = tensor.dtype,
                       .shape = std::span(tensor.shape).first(tensor.rank),
                       .bytes = BytesOf(written[field.id])});
  }
  WriteSafetensors(path, std::move(tensors), metadata, report);
}

}  // namespace

CaseFile::CaseFile(const std::string& path) : reader_(path) {
  for (const StoredTensor& stored : reader_.tensors()) {
    const TensorField& field = FindField(path, stored.name, BelongsToCase, "case");
    spec.*field.spec = ToTensorSpec(path, stored);
  }
  ParseAttributes(path, reader_.metadata(), &spec);
  workload::SetOutputs(&spec);
}

Case CaseFile::Load() const {
  CheckFitsInMemory(reader_.path(), spec);
  Case loaded = workload::Allocate(spec);
  for (const TensorField& field : kTensorFields) {
    const StoredTensor* stored = reader_.Find(field.name);
    if (stored != nullptr) reader_.Read(*stored, BytesOf(loaded[field.id]));
  }
  return loaded;
}

void WriteCase(const std::string& path, const Case& written, const std::string& report) {
  const Spec& spec = written.spec;
  const Metadata metadata = {
      {"size_splits", fmt::format("{}", fmt::join(spec.size_splits, ","))},
      {"cache_mode", std::string(WordFor(spec.cache_layout, kCacheChoices))},
      {"kv_output", std::string(WordFor(spec.kv_output, kBoolChoices))},
      {"quant_mode", "static"},
      {"layout", "BSND"},
      {"numerics", std::string(WordFor(spec.numerics, kNumericsChoices))},
  };
  WriteTensors(path, written, BelongsToCase, metadata, report);
}

void WriteResult(const std::string& path, const Case& written, const std::string& report) {
  WriteTensors(path, written, BelongsToResult, {}, report);
}

Buffers ReadResult(const std::string& path, const Spec& spec) {
  const SafetensorsReader reader(path);
  const auto expected = [&spec](const TensorField& field) {
    return BelongsToResult(field) && (spec.*field.spec).present();
  };
  for (const StoredTensor& stored : reader.tensors()) {
    FindField(path, stored.name, expected, "result");
  }
  Buffers buffers;
  for (const TensorField& field : kTensorFields) {
    if (!expected(field)) continue;
    const TensorSpec& tensor = spec.*field.spec;
    const std::string culprit = fmt::format("{}: tensor {}", path, Quote(field.name));
    const StoredTensor* stored = reader.Find(field.name);
    if (stored == nullptr) throw InputError(culprit, "missing");
    const auto shape = std::span(tensor.shape).first(tensor.rank);
    if (stored->dtype != tensor.dtype || !std::ranges::equal(stored->shape, shape)) {
      throw InputError(culprit,
                       fmt::format("is {} {}, the case makes {} {}", Name(stored->dtype),
                                   ShapeText(stored->shape), Name(tensor.dtype), ShapeText(shape)));
    }
    Buffer& buffer = buffers[static_cast<int>(field.id)];
    buffer = Buffer(stored->end - stored->begin);
    reader.Read(*stored, BytesOf(buffer));
  }
  return buffers;
}

void CheckFitsInMemory(const std::string& culprit, const Spec& spec) {
  double needed = 0;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = spec.*field.spec;
    if (tensor.present()) needed += static_cast<double>(workload::NumBytes(tensor));
  }
  const double available =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (needed > available) {
    throw InputError(culprit, fmt::format("needs {:.1f} GiB of memory, this machine has {:.1f}",
                                          needed * 0x1p-30, available * 0x1p-30));
  }
}

}  // namespace ropekv::cli
