// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "frontends/cli/errors.h"
#include "frontends/cli/safetensors_header.h"

namespace ropekv::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr int64_t kLengthBytes = 8;
// Room for thousands of entries; a case has sixteen.
constexpr uint64_t kMaxHeaderBytes = 1 << 20;

std::string ReadHeader(const InputFile& file) {
  if (file.size() < kLengthBytes) {
    throw InputError(file.path(), fmt::format("not a safetensors file: {} bytes", file.size()));
  }
  uint64_t length = 0;
  file.ReadAt(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > kMaxHeaderBytes) {
    throw InputError(file.path(), fmt::format("not a safetensors file: a header of {} bytes, at "
                                              "most {} are read",
                                              length, kMaxHeaderBytes));
  }
  if (length > static_cast<uint64_t>(file.size() - kLengthBytes)) {
    throw InputError(file.path(), fmt::format("truncated: a header of {} bytes in a file of {}",
                                              length, file.size()));
  }
  std::string text(length, '\0');
  file.ReadAt(kLengthBytes, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string_view StoredName(DType dtype) {
  switch (dtype) {
    case DType::kI8: return "I8";
    case DType::kI32: return "I32";
    case DType::kF16: return "F16";
    case DType::kBF16: return "BF16";
    case DType::kF32: return "F32";
    case DType::kNone: break;
  }
  return "none";
}

SafetensorsReader::SafetensorsReader(const std::string& path) : file_(path) {
  const std::string text = ReadHeader(file_);
  data_begin_ = kLengthBytes + static_cast<int64_t>(text.size());
  Header header = ParseHeader(path, text, file_.size() - data_begin_);
  tensors_ = std::move(header.tensors);
  metadata_ = std::move(header.metadata);
}

const StoredTensor* SafetensorsReader::Find(std::string_view name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [name](const StoredTensor& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

void SafetensorsReader::Read(const StoredTensor& tensor, std::span<std::byte> bytes) const {
  file_.ReadAt(data_begin_ + tensor.begin, bytes);
}

void WriteSafetensors(const std::string& path, std::vector<TensorView> tensors,
                      const Metadata& metadata, const std::string& report) {
  // The widest elements first: every tensor is aligned to its element.
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    return ElementBytes(a.dtype) > ElementBytes(b.dtype);
  });
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
