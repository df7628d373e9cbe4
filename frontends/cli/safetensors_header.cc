// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/safetensors_header.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "frontends/cli/errors.h"

namespace ropekv::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kMetadataKey = "__metadata__";

// An entry as read; until its end, a field that did not occur is absent.
struct RawTensor {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

// Takes the parser's events one by one: the shape of a legal header is so narrow that anything
// deeper, wider or doubled is refused where it stands, before it costs memory.
class HeaderHandler : public nlohmann::json_sax<json> {
 public:
  explicit HeaderHandler(const std::string& path) : path_(path) {}

  std::vector<RawTensor> TakeTensors() { return std::move(tensors_); }
  Metadata TakeMetadata() { return std::move(metadata_); }

  bool start_object(size_t /*count*/) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kRoot;
    } else if (place_ == Place::kEntry) {
      place_ = entry_ == kMetadataKey ? Place::kMetadata : Place::kTensor;
      if (place_ == Place::kTensor) tensors_.push_back({entry_, {}, {}, {}});
    } else {
      Unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      const RawTensor& tensor = tensors_.back();
      if (!tensor.dtype) Fail("tensor {}: dtype is missing", Quote(entry_));
      if (!tensor.shape) Fail("tensor {}: shape is missing", Quote(entry_));
      if (!tensor.offsets) Fail("tensor {}: data_offsets is missing", Quote(entry_));
    }
    place_ = place_ == Place::kRoot ? Place::kOutside : Place::kRoot;
    return true;
  }

  bool key(std::string& name) override {
    if (place_ == Place::kRoot) {
      if (!names_.insert(name).second) Fail("the header has {} twice", Quote(name));
      entry_ = name;
      place_ = Place::kEntry;
      return true;
    }
    field_ = name;
    if (place_ == Place::kMetadata) {
      if (metadata_.count(name) != 0) Fail("metadata {}: given twice", Quote(name));
      return true;
    }
    const RawTensor& tensor = tensors_.back();
    const bool doubled = (name == "dtype" && tensor.dtype) || (name == "shape" && tensor.shape) ||
                         (name == "data_offsets" && tensor.offsets);
    if (doubled) Fail("tensor {}: {} given twice", Quote(entry_), name);
    if (name != "dtype" && name != "shape" && name != "data_offsets") {
      Fail("tensor {}: unknown field {}", Quote(entry_), Quote(name));
    }
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) {
      metadata_[field_] = value;
    } else if (place_ == Place::kTensor && field_ == "dtype") {
      tensors_.back().dtype = value;
    } else {
      Unexpected("a string");
    }
    return true;
  }

  bool start_array(size_t /*count*/) override {
    if (place_ != Place::kTensor || field_ == "dtype") Unexpected("an array");
    place_ = Place::kNumbers;
    numbers() = std::vector<uint64_t>();
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ != Place::kNumbers) Unexpected("a number");
    numbers()->push_back(value);
    return true;
  }

  bool number_integer(int64_t /*value*/) override { return Unexpected("a negative number"); }
  bool number_float(double /*value*/, const std::string& text) override {
    return Unexpected(fmt::format("{}, which is not a 64-bit integer,", Quote(text)));
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool /*value*/) override { return Unexpected("a boolean"); }
  bool binary(json::binary_t& /*value*/) override { return Unexpected("binary data"); }

  bool parse_error(size_t position, const std::string& /*token*/,
                   const json::exception& /*error*/) override {
    Fail("the header is not valid JSON at its byte {}", position);
  }

 private:
  // Where the next value belongs: outside the root, the root's keys, the value of such a key, the
  // metadata, one tensor, or one of a tensor's arrays.
  enum class Place { kOutside, kRoot, kEntry, kMetadata, kTensor, kNumbers };

  template <class... Values>
  [[noreturn]] void Fail(fmt::format_string<Values...> format, Values&&... values) {
    throw InputError(path_, fmt::format(format, std::forward<Values>(values)...));
  }

  bool Unexpected(std::string_view what) {
    switch (place_) {
      case Place::kOutside:
      case Place::kRoot: Fail("the header must be an object, found {}", what);
      case Place::kEntry: Fail("entry {}: must be an object, found {}", Quote(entry_), what);
      case Place::kMetadata: Fail("metadata {}: must be a string, found {}", Quote(field_), what);
      case Place::kTensor:
      case Place::kNumbers:
        Fail("tensor {}: unexpected {} in {}", Quote(entry_), what, Quote(field_));
    }
    return false;
  }

  std::optional<std::vector<uint64_t>>& numbers() {
    return field_ == "shape" ? tensors_.back().shape : tensors_.back().offsets;
  }

  const std::string& path_;
  Place place_ = Place::kOutside;
  std::set<std::string, std::less<>> names_;
  std::string entry_;  // the root's key
  std::string field_;  // the key within
  std::vector<RawTensor> tensors_;
  Metadata metadata_;
};

// The bytes of a tensor, or nothing if they do not fit 63 bits. 0 extents do not excuse the others.
std::optional<uint64_t> CheckedBytes(uint64_t element_bytes, const std::vector<uint64_t>& shape) {
  uint64_t bytes = element_bytes;
  bool empty = false;
  for (uint64_t extent : shape) {
    empty = empty || extent == 0;
    if (extent != 0 && __builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
    if (bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  }
  return empty ? 0 : bytes;
}

StoredTensor Check(const std::string& path, const RawTensor& raw,
                   std::optional<int64_t> data_size) {
  const std::string where = fmt::format("{}: tensor {}", path, Quote(raw.name));
  if (raw.offsets->size() != 2) throw InputError(where, "data_offsets must be two numbers");
  const uint64_t begin = (*raw.offsets)[0];
  const uint64_t end = (*raw.offsets)[1];
  if (begin > end) {
    throw InputError(where, fmt::format("data_offsets [{}, {}] run backwards", begin, end));
  }
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  if (end > static_cast<uint64_t>(data_size.value_or(kLargest))) {
    throw InputError(where, fmt::format("data_offsets [{}, {}] end beyond the file's {} data bytes"
                                        " (truncated?)",
                                        begin, end, data_size.value_or(kLargest)));
  }
  // 0 for a dtype that no tensor of ours may have: then only its place in the file is of interest.
  const int64_t element_bytes = StoredBytes(*raw.dtype);
  const std::optional<uint64_t> bytes =
      CheckedBytes(std::max<int64_t>(element_bytes, 1), *raw.shape);
  if (!bytes) throw InputError(where, "the product of its shape overflows");
  if (element_bytes > 0 && *bytes != end - begin) {
    throw InputError(where, fmt::format("its shape needs {} bytes, data_offsets [{}, {}] hold {}",
                                        *bytes, begin, end, end - begin));
  }
  return {.name = raw.name,
          .dtype = *raw.dtype,
          .shape = {raw.shape->begin(), raw.shape->end()},
          .begin = static_cast<int64_t>(begin),
          .end = static_cast<int64_t>(end)};
}

}  // namespace

Header ParseHeader(const std::string& path, std::string_view text,
                   std::optional<int64_t> data_size) {
  // The JSON library takes a NUL for the end of the text and would not look behind it.
  if (text.find('\0') != text.npos) throw InputError(path, "the header contains a NUL byte");
  HeaderHandler handler(path);
  json::sax_parse(text, &handler);

  Header header{.tensors = {}, .metadata = handler.TakeMetadata()};
  for (const RawTensor& raw : handler.TakeTensors()) {
    header.tensors.push_back(Check(path, raw, data_size));
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const StoredTensor& a, const StoredTensor& b) {
              return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
            });
  int64_t covered = 0;
  for (const StoredTensor& tensor : header.tensors) {
    if (tensor.begin != covered) {
      throw InputError(
          path,
          fmt::format("tensor {}: begins at data byte {}, {} {}, where the data before it ends",
                      Quote(tensor.name), tensor.begin,
                      tensor.begin < covered ? "overlapping" : "leaving a gap after", covered));
    }
    covered = tensor.end;
  }
  if (data_size && covered != *data_size) {
    throw InputError(path,
                     fmt::format("{} bytes at its end belong to no tensor", *data_size - covered));
  }
  return header;
}

}  // namespace ropekv::cli
