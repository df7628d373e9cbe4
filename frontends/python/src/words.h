// SPDX-License-Identifier: Apache-2.0
// Words that stand for values in Python.
#ifndef ROPEKV_FRONTENDS_PYTHON_WORDS_H_
#define ROPEKV_FRONTENDS_PYTHON_WORDS_H_

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "ropekv/ropekv.h"

namespace ropekv::python {

// Throws std::invalid_argument, which nanobind makes a ValueError.
template <class T>
T Choose(const char* name, std::string_view word,
         std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string legal;
  for (const auto& [text, value] : choices) {
    if (text == word) return value;
    legal += (legal.empty() ? "'" : "' or '") + std::string(text);
  }
  throw std::invalid_argument(std::string(name) + ": is '" + std::string(word) + "'; must be " +
                              legal + "'");
}

inline CacheLayout ParseCacheMode(std::string_view word) {
  return Choose<CacheLayout>(
      "cache_mode", word,
      {{"contiguous", CacheLayout::kContiguous}, {"page", CacheLayout::kPaged}});
}

inline Numerics ParseNumerics(std::string_view word) {
  return Choose<Numerics>("numerics", word,
                          {{"float32", Numerics::kFloat32}, {"ascend", Numerics::kAscend}});
}

inline DType ParseOutDType(std::string_view word) {
  return Choose<DType>(
      "out_dtype", word,
      {{"float16", DType::kF16}, {"bfloat16", DType::kBF16}, {"float32", DType::kF32}});
}

inline RotaryStyle ParseRotaryStyle(std::string_view word) {
  return Choose<RotaryStyle>(
      "rotary_style", word,
      {{"half", RotaryStyle::kHalf}, {"interleaved", RotaryStyle::kInterleaved}});
}

}  // namespace ropekv::python

#endif  // ROPEKV_FRONTENDS_PYTHON_WORDS_H_
