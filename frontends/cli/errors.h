// SPDX-License-Identifier: Apache-2.0
// How the command refuses: one line on stderr, exit code 2. And how it remarks on what it accepts.
#ifndef ROPEKV_FRONTENDS_CLI_ERRORS_H_
#define ROPEKV_FRONTENDS_CLI_ERRORS_H_

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include "ropekv/types.h"

namespace ropekv::cli {

// Bad usage or bad input. `culprit` is an option, a file or a tensor.
class InputError : public std::runtime_error {
 public:
  InputError(std::string_view culprit, std::string_view detail)
      : std::runtime_error(fmt::format("{}: {}", culprit, detail)) {}
  explicit InputError(const Status& status) : std::runtime_error(status.message()) {}
};

// `status`, if it is an error, as one of the file `path`; of an option, it is not the file's.
void ThrowIfError(const std::string& path, const Status& status);

inline void ThrowIfError(const Status& status) {
  if (!status.ok()) throw InputError(status);
}

template <class T>
T ValueOrThrow(Result<T> result) {
  ThrowIfError(result.status());
  return std::move(result).value();
}

// `text` with its control characters escaped: one line.
std::string Escape(std::string_view text);

// 'text', escaped and no longer than a name should be: it may come from a hostile file.
std::string Quote(std::string_view text);

// A line on stderr for what is odd and no error; none if `text` is empty.
void PrintNote(const std::string& text);

// What errno says.
std::string ErrnoText(int error);

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_ERRORS_H_
