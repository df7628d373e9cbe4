// SPDX-License-Identifier: Apache-2.0
// Any bytes as a safetensors file, and as a case: read from a file or a pipe they are refused with
// one line that names them, or what is read is as the format has it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "frontends/cli/case_file.h"
#include "frontends/cli/errors.h"
#include "frontends/cli/safetensors.h"
#include "fuzz/require.h"

namespace ropekv::cli {
namespace {

constexpr int64_t kMostBytes = 1 << 16;  // fits in a pipe; larger tensors are not read

// The first byte of the input says how the rest is presented.
struct Presentation {
  bool by_pipe;
  bool as_case;
  bool
      with_length;  // the bytes are a header and data; else the length of the header is one of them
};

// Becomes stdin, so that no name has to be looked up. The file stays, and so do its pages.
void Present(const std::string& bytes, bool by_pipe) {
  static const int file = memfd_create("fuzz", MFD_CLOEXEC);
  static bool is_file = false;
  const auto size = static_cast<ssize_t>(bytes.size());
  if (by_pipe) {
    int ends[2];
    testing::Require(pipe(ends) == 0, "a pipe");
    testing::Require(write(ends[1], bytes.data(), bytes.size()) == size, "the pipe takes all");
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
    is_file = false;
    return;
  }
  testing::Require(pwrite(file, bytes.data(), bytes.size(), 0) == size &&
                       ftruncate(file, size) == 0 && lseek(file, 0, SEEK_SET) == 0,
                   "a file");
  if (!is_file) dup2(file, STDIN_FILENO);
  is_file = true;
}

void ReadTensors(const std::string& bytes) {
  SafetensorsReader reader("-");
  int64_t covered = 0;
  for (const StoredTensor& tensor : reader.tensors()) {
    testing::Require(tensor.begin == covered && tensor.end >= tensor.begin, "no gap, no overlap");
    covered = tensor.end;
    testing::Require(reader.Find(tensor.name) != nullptr, "it is found by its name");
    int64_t elements = 1;
    for (const int64_t extent : tensor.shape) elements *= extent;
    const int64_t element_bytes = StoredBytes(tensor.dtype);
    testing::Require(element_bytes == 0 || elements * element_bytes == tensor.end - tensor.begin,
                     "it holds its shape");
  }
  if (covered > kMostBytes) return;
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const auto data = std::as_bytes(std::span(bytes)).subspan(sizeof(header) + header);
  for (const StoredTensor& tensor : reader.tensors()) {
    std::vector<std::byte> read(static_cast<size_t>(tensor.end - tensor.begin));
    reader.Read(tensor, read);
    testing::Require(data.size() >= static_cast<size_t>(tensor.end) &&
                         std::equal(read.begin(), read.end(), data.begin() + tensor.begin),
                     "its bytes are the file's");
  }
  reader.Finish();
  testing::Require(data.size() == static_cast<size_t>(covered), "nothing is left");
}

void ReadCase() {
  CaseFile file("-");
  static_cast<void>(file.note());
  file.ToPlan();
  int64_t bytes = 0;
  for (const TensorField& field : kTensorFields) {
    const TensorSpec& tensor = file.spec.*field.spec;
    if (!tensor.present()) continue;
    int64_t elements = 1;
    for (int i = 0; i < tensor.rank; ++i) {
      if (__builtin_mul_overflow(elements, tensor.shape[i], &elements)) return;
    }
    bytes = std::max(bytes, elements);
  }
  if (bytes > kMostBytes) return;
  file.Load();
}

void TestOne(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const Presentation how = {(data[0] & 1) != 0, (data[0] & 2) != 0, (data[0] & 4) != 0};
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (how.with_length && size >= 3) {
    // Two bytes say where the header ends, if it ends before the data does.
    const uint64_t end = std::min<uint64_t>(data[1] | data[2] << 8, size - 3);
    bytes.replace(0, 2, reinterpret_cast<const char*>(&end), sizeof(end));
  }
  if (bytes.size() > kMostBytes) return;
  if (how.by_pipe && bytes.size() >= 8) {
    // What a pipe says of its header is believed up to 100 MB: legal, and too slow here.
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof(length));
    if (length > kMostBytes && length <= 100'000'000) return;
  }
  Present(bytes, how.by_pipe);
  try {
    if (how.as_case) {
      ReadCase();
    } else {
      ReadTensors(bytes);
    }
  } catch (const InputError& error) {
    const std::string message = error.what();
    testing::Require(message.find("stdin: ") == 0 || message.find("ROPEKV_TARGET") == 0,
                     "the message names the file");
  }
}

}  // namespace
}  // namespace ropekv::cli

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ropekv::cli::TestOne(data, size);
  return 0;
}
