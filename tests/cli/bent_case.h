// SPDX-License-Identifier: Apache-2.0
// Case files that a test can take apart and bend.
#ifndef ROPEKV_TESTS_CLI_BENT_CASE_H_
#define ROPEKV_TESTS_CLI_BENT_CASE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "frontends/cli/case_file.h"
#include "frontends/cli/errors.h"
#include "tests/cli/scratch.h"
#include "workload/generate.h"

namespace ropekv::cli {

inline workload::Case SmallCase(DType x = DType::kI32, DType dtype = DType::kF16,
                                CacheLayout cache = CacheLayout::kPaged) {
  workload::GenerateOptions options;
  options.model = *workload::FindModel("Llama-3-70B-TP8");
  options.batch = 2;
  options.seq = 3;
  options.x = x;
  options.dtype = dtype;
  options.cache = cache;
  options.block_size = 4;
  options.bias = x == DType::kI32 ? DType::kBF16 : DType::kNone;
  options.offsets = x == DType::kI32;
  options.kv_output = x == DType::kF16;
  return workload::Generate(options);
}

// A case file, taken apart so that a test can bend it.
struct Parts {
  std::vector<StoredTensor> tensors;  // offsets unused
  std::vector<std::string> bytes;
  Metadata metadata;

  size_t At(std::string_view name) const {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].name == name) return i;
    }
    ADD_FAILURE() << "no tensor " << name;
    return 0;
  }
  StoredTensor& operator[](std::string_view name) { return tensors[At(name)]; }
  void Add(const StoredTensor& tensor, const std::string& data) {
    tensors.push_back(tensor);
    bytes.push_back(data);
  }
  void Drop(std::string_view name) {
    const auto i = static_cast<std::ptrdiff_t>(At(name));
    tensors.erase(tensors.begin() + i);
    bytes.erase(bytes.begin() + i);
  }
};

inline Parts TakeApart(const std::string& path) {
  SafetensorsReader reader(path);
  Parts parts{.tensors = reader.tensors(), .bytes = {}, .metadata = reader.metadata()};
  for (const StoredTensor& tensor : parts.tensors) {
    std::string bytes(tensor.end - tensor.begin, '\0');
    reader.Read(tensor, std::as_writable_bytes(std::span(bytes)));
    parts.bytes.push_back(bytes);
  }
  return parts;
}

// Not by WriteSafetensors, which has no other dtypes and aligns its tensors.
inline void Write(const std::string& path, const Parts& parts) {
  nlohmann::ordered_json header;
  header["__metadata__"] = parts.metadata;
  std::string data;
  for (size_t i = 0; i < parts.tensors.size(); ++i) {
    const StoredTensor& tensor = parts.tensors[i];
    const size_t begin = data.size();
    data += parts.bytes[i];
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  WriteWhole(path, std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
}

// What reading a bent case says, without the path; empty if it is accepted.
inline std::string Refusal(const std::function<void(Parts*)>& bend) {
  const Scratch scratch;
  const std::string path = scratch / "case";
  WriteCase(path, SmallCase());
  Parts parts = TakeApart(path);
  bend(&parts);
  Write(path, parts);
  try {
    CaseFile file(path);
    file.ToPlan();
    file.Load();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith(path + ": "));
    return std::string(error.what()).substr(path.size() + 2);
  }
  return "";
}

// A case on disk that has been bent and is still accepted.
class BentCase {
 public:
  explicit BentCase(const std::function<void(Parts*)>& bend, workload::Case made = SmallCase())
      : made_(std::move(made)) {
    WriteCase(path(), made_);
    Parts parts = TakeApart(path());
    bend(&parts);
    Write(path(), parts);
  }
  std::string path() const { return scratch_ / "case"; }
  // What the note says behind the path.
  std::string Note() const {
    const std::string note = CaseFile(path()).note();
    return note.empty() ? "" : note.substr(path().size() + 2);
  }
  workload::Case Load() const {
    CaseFile file(path());
    file.ToPlan();
    return file.Load();
  }
  const workload::Case& made() const { return made_; }

 private:
  Scratch scratch_;
  workload::Case made_;
};

}  // namespace ropekv::cli

#endif  // ROPEKV_TESTS_CLI_BENT_CASE_H_
