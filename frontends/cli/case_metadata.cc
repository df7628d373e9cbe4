// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/case_metadata.h"

#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <system_error>

#include "frontends/cli/choices.h"
#include "frontends/cli/errors.h"

namespace ropekv::cli {
namespace {

constexpr Choice<int> kQuantModes[] = {{"static", 0}};
constexpr Choice<int> kLayouts[] = {{"BSND", 0}};

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

int64_t ParseInteger(const std::string& culprit, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  throw InputError(culprit, fmt::format("{} is not an integer", Quote(text)));
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Python writes True; engines write paged.
bool Means(std::string_view text, std::string_view word) {
  const std::string lower = Lower(text);
  return lower == Lower(word) || (lower == "paged" && word == "page");
}

class MetadataParser {
 public:
  MetadataParser(const std::string& path, std::vector<std::string>* remarks)
      : path_(path), remarks_(*remarks) {}

  void Parse(const std::string& key, const std::string& value, Spec* spec) {
    if (key == "size_splits") {
      spec->size_splits = ParseSplits(Culprit(key), value);
    } else if (key == "cache_mode") {
      spec->cache_layout = Choose(key, value, kCacheChoices);
    } else if (key == "kv_output") {
      spec->kv_output = Choose(key, value, kBoolChoices);
    } else if (key == "numerics") {
      spec->numerics = Choose(key, value, kNumericsChoices);
    } else if (key == "rotary_dim") {
      spec->rotary_dim = ParseInteger(Culprit(key), value);
    } else if (key == "rotary_style") {
      spec->rotary_style = Choose(key, value, kStyleChoices);
    } else if (key == "dtype") {
      spec->q.dtype = Choose(key, value, kDTypeChoices);
    } else if (key == "quant_mode") {
      Choose(key, value, kQuantModes);
    } else if (key == "layout") {
      Choose(key, value, kLayouts);
    } else if (key != "format") {  // which PyTorch's writer adds
      remarks_.push_back(fmt::format("metadata {} is not used", Quote(key)));
    }
  }

 private:
  std::string Culprit(const std::string& key) const {
    return fmt::format("{}: metadata {}", path_, Quote(key));
  }

  template <class T, size_t n>
  T Choose(const std::string& key, const std::string& text, const Choice<T> (&choices)[n]) {
    for (const Choice<T>& choice : choices) {
      if (choice.word == text || !Means(text, choice.word)) continue;
      remarks_.push_back(
          fmt::format("metadata {}: {} is read as {}", Quote(key), Quote(text), choice.word));
      return choice.value;
    }
    return ParseChoice(Culprit(key), text, choices);
  }

  const std::string& path_;
  std::vector<std::string>& remarks_;
};

}  // namespace

void ParseMetadata(const std::string& path, const Metadata& metadata, Spec* spec,
                   std::vector<std::string>* remarks) {
  if (metadata.count("size_splits") == 0) {
    throw InputError(path, "metadata 'size_splits' is missing");
  }
  MetadataParser parser(path, remarks);
  for (const auto& [key, value] : metadata) parser.Parse(key, value, spec);
}

Metadata MakeMetadata(const Spec& spec) {
  Metadata metadata = {
      {"size_splits", fmt::format("{}", fmt::join(spec.size_splits, ","))},
      {"cache_mode", std::string(WordFor(spec.cache_layout, kCacheChoices))},
      {"kv_output", std::string(WordFor(spec.kv_output, kBoolChoices))},
      {"quant_mode", "static"},
      {"layout", "BSND"},
      {"numerics", std::string(WordFor(spec.numerics, kNumericsChoices))},
  };
  // What few cases have.
  if (spec.rotary_dim != 0) metadata["rotary_dim"] = fmt::format("{}", spec.rotary_dim);
  if (spec.rotary_style != RotaryStyle::kHalf) {
    metadata["rotary_style"] = WordFor(spec.rotary_style, kStyleChoices);
  }
  if (spec.q.dtype != workload::OutputDType(spec)) {
    metadata["dtype"] = WordFor(spec.q.dtype, kDTypeChoices);
  }
  return metadata;
}

}  // namespace ropekv::cli
