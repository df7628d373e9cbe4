// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "frontends/cli/errors.h"
#include "frontends/cli/foreign_format.h"
#include "frontends/cli/safetensors_header.h"

namespace ropekv::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

// Refuses a file of which `begin` has been read.
[[noreturn]] void Refuse(InputFile& file, const std::string& begin, const std::string& why) {
  std::string more(kForeignFormatBytes, '\0');
  more.resize(file.ReadUpTo(std::as_writable_bytes(std::span(more))));
  const std::string_view format = ForeignFormat(begin + more);
  throw InputError(file.path(), format.empty()
                                    ? why
                                    : fmt::format("this is {}, not a safetensors file", format));
}

std::string ReadHeader(InputFile& file) {
  std::string begin(kLengthBytes, '\0');
  begin.resize(file.ReadUpTo(std::as_writable_bytes(std::span(begin))));
  if (begin.size() < kLengthBytes) {
    Refuse(file, begin, fmt::format("not a safetensors file: {} bytes", begin.size()));
  }
  uint64_t length = 0;
  std::memcpy(&length, begin.data(), kLengthBytes);
  if (length > kMaxHeaderBytes) {
    Refuse(file, begin,
           fmt::format("not a safetensors file: a header of {} bytes, at most {} are legal", length,
                       kMaxHeaderBytes));
  }
  // No more memory than the file has bytes, whatever its length says.
  const uint64_t available = file.size() ? *file.size() - kLengthBytes : length;
  std::string text(std::min(length, available), '\0');
  text.resize(file.ReadUpTo(std::as_writable_bytes(std::span(text))));
  if (text.size() < length) {
    Refuse(file, begin + text,
           fmt::format("truncated: a header of {} bytes in a file of {}", length,
                       kLengthBytes + text.size()));
  }
  if (!text.starts_with('{')) Refuse(file, begin + text, "not a safetensors file");
  return text;
}

constexpr DType kStoredDTypes[] = {DType::kI8,  DType::kI32,  DType::kI64,
                                   DType::kF16, DType::kBF16, DType::kF32};

}  // namespace

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string_view StoredName(DType dtype) {
  switch (dtype) {
    case DType::kI8: return "I8";
    case DType::kI32: return "I32";
    case DType::kI64: return "I64";
    case DType::kF16: return "F16";
    case DType::kBF16: return "BF16";
    case DType::kF32: return "F32";
    case DType::kNone: break;
  }
  return "none";
}

DType FindDType(std::string_view stored_name) {
  for (DType dtype : kStoredDTypes) {
    if (StoredName(dtype) == stored_name) return dtype;
  }
  return DType::kNone;
}

int64_t StoredBytes(std::string_view dtype) { return ElementBytes(FindDType(dtype)); }

SafetensorsReader::SafetensorsReader(const std::string& path) : file_(path) {
  const std::string text = ReadHeader(file_);
  std::optional<int64_t> data_size = file_.size();
  if (data_size) *data_size -= static_cast<int64_t>(kLengthBytes + text.size());
  Header header = ParseHeader(file_.path(), text, data_size);
  tensors_ = std::move(header.tensors);
  metadata_ = std::move(header.metadata);
}

const StoredTensor* SafetensorsReader::Find(std::string_view name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [name](const StoredTensor& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

void SafetensorsReader::SkipTo(int64_t position) {
  file_.Skip(position - position_);
  position_ = position;
}

void SafetensorsReader::Read(const StoredTensor& tensor, std::span<std::byte> bytes) {
  SkipTo(tensor.begin);
  file_.Read(bytes);
  position_ = tensor.end;
}

void SafetensorsReader::Finish() {
  if (file_.size()) return;
  SkipTo(tensors_.empty() ? 0 : tensors_.back().end);
  std::byte more{};
  if (file_.ReadUpTo(std::span(&more, 1)) > 0) {
    throw InputError(path(), "bytes at its end belong to no tensor");
  }
}

namespace {

// Of these tensors in this order, of a multiple of 8 bytes. The JSON object is gone before anything
// is written: its destructor wants memory, and where there is none the command ends.
std::string HeaderText(const std::vector<TensorView>& tensors, const Metadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const TensorView& tensor : tensors) {
    const size_t end = offset + tensor.bytes.size();
    header[std::string(tensor.name)] = {{"dtype", StoredName(tensor.dtype)},
                                        {"shape", tensor.shape},
                                        {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

void WriteSafetensors(const std::string& path, std::vector<TensorView> tensors,
                      const Metadata& metadata, const std::string& report) {
  // The widest elements first: every tensor is aligned to its element.
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    return ElementBytes(a.dtype) > ElementBytes(b.dtype);
  });
  const std::string text = HeaderText(tensors, metadata);
  const uint64_t length = text.size();

  OutputFile::Parts parts = {std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span(text))};
  for (const TensorView& tensor : tensors) parts.push_back(tensor.bytes);
  OutputFile file(path);
  file.Write(std::move(parts));
  const std::string wrote = report.empty() ? "" : fmt::format("wrote {}\n", file.path());
  if (file.is_stdout()) {
    file.Commit();
    std::fputs((report + wrote).c_str(), stderr);
    return;
  }
  std::fputs(report.c_str(), stdout);
  FlushStdout();
  file.Commit();
  std::fputs(wrote.c_str(), stdout);
}

}  // namespace ropekv::cli
