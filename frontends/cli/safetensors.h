// SPDX-License-Identifier: Apache-2.0
// Reading and writing the safetensors format: eight bytes of header length, a JSON header that
// describes the tensors, and their bytes, row-major and little-endian.
#ifndef ROPEKV_FRONTENDS_CLI_SAFETENSORS_H_
#define ROPEKV_FRONTENDS_CLI_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/cli/file.h"
#include "ropekv/types.h"

namespace ropekv::cli {

using Metadata = std::map<std::string, std::string, std::less<>>;

// One entry of a header that has been checked: bytes [begin, end) of the data hold exactly `shape`,
// if StoredBytes knows `dtype`.
struct StoredTensor {
  std::string name;
  std::string dtype;  // in the header's words
  std::vector<int64_t> shape;
  int64_t begin = 0;
  int64_t end = 0;
};

// "[2, 3]"
std::string ShapeText(std::span<const int64_t> shape);

// The header's name of a dtype, "BF16".
std::string_view StoredName(DType dtype);
// The inverse; kNone if there is none.
DType FindDType(std::string_view stored_name);

// The bytes of an element, for the dtypes that have a StoredName; 0 for all others.
int64_t StoredBytes(std::string_view dtype);

// Reads a file from front to back: it may be a pipe, of which nothing is kept but the header.
class SafetensorsReader {
 public:
  // Reads and checks the header, of at most 100 MB as the format has it. The tensors must cover the
  // data of the file exactly. Throws InputError naming the file.
  explicit SafetensorsReader(const std::string& path);

  const std::string& path() const { return file_.path(); }
  // In the order of their data.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const Metadata& metadata() const { return metadata_; }
  const StoredTensor* Find(std::string_view name) const;

  // Precondition: `bytes` is as long as the tensor, and no tensor behind it has been read.
  void Read(const StoredTensor& tensor, std::span<std::byte> bytes);
  // After the last Read: checks what only the end of a pipe can tell.
  void Finish();

 private:
  void SkipTo(int64_t position);

  InputFile file_;
  int64_t position_ = 0;  // in the data
  std::vector<StoredTensor> tensors_;
  Metadata metadata_;
};

// A tensor to write; the memory is the caller's.
struct TensorView {
  std::string_view name;
  DType dtype;
  std::span<const int64_t> shape;
  std::span<const std::byte> bytes;
};

// Writes a file as OutputFile does. If there is a `report`, it goes to stdout just before the file
// appears: if nobody can hear it, that is an error, and there is no file. "wrote PATH" follows when
// the file is there. If the file itself goes to stdout, both go to stderr. Throws InputError.
void WriteSafetensors(const std::string& path, std::vector<TensorView> tensors,
                      const Metadata& metadata, const std::string& report = "");

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_SAFETENSORS_H_
