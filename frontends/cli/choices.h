// SPDX-License-Identifier: Apache-2.0
// Words that stand for values, in options and in metadata.
#ifndef ROPEKV_FRONTENDS_CLI_CHOICES_H_
#define ROPEKV_FRONTENDS_CLI_CHOICES_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "frontends/cli/errors.h"
#include "ropekv/ropekv.h"
#include "workload/generate.h"

namespace ropekv::cli {

template <class T>
struct Choice {
  std::string_view word;
  T value;
  std::string_view other_word = word;  // taken, too, but not shown
};

inline constexpr Choice<Numerics> kNumericsChoices[] = {{"float32", Numerics::kFloat32},
                                                        {"ascend", Numerics::kAscend}};
inline constexpr Choice<CacheLayout> kCacheChoices[] = {{"contiguous", CacheLayout::kContiguous},
                                                        {"page", CacheLayout::kPaged}};
// Of x, and of the outputs.
inline constexpr Choice<DType> kXChoices[] = {{"i32", DType::kI32, "int32"},
                                              {"f16", DType::kF16, "float16"},
                                              {"bf16", DType::kBF16, "bfloat16"},
                                              {"f32", DType::kF32, "float32"}};
inline constexpr Choice<DType> kDTypeChoices[] = {{"f16", DType::kF16, "float16"},
                                                  {"bf16", DType::kBF16, "bfloat16"},
                                                  {"f32", DType::kF32, "float32"}};
inline constexpr Choice<DType> kCacheDTypeChoices[] = {{"i8", DType::kI8, "int8"},
                                                       {"f16", DType::kF16, "float16"},
                                                       {"bf16", DType::kBF16, "bfloat16"},
                                                       {"f32", DType::kF32, "float32"}};
inline constexpr Choice<DType> kIndexChoices[] = {{"i32", DType::kI32, "int32"},
                                                  {"i64", DType::kI64, "int64"}};
inline constexpr Choice<RotaryStyle> kStyleChoices[] = {{"half", RotaryStyle::kHalf},
                                                        {"interleaved", RotaryStyle::kInterleaved}};
inline constexpr Choice<workload::Scales> kScalesChoices[] = {
    {"channel", workload::Scales::kChannel},
    {"head", workload::Scales::kHead},
    {"tensor", workload::Scales::kTensor}};
inline constexpr Choice<bool> kBoolChoices[] = {{"false", false}, {"true", true}};

// "a, b or c"
template <class T, size_t n>
std::string Words(const Choice<T> (&choices)[n]) {
  std::string words;
  for (size_t i = 0; i < n; ++i) {
    words += i == 0 ? "" : i + 1 == n ? " or " : ", ";
    words += choices[i].word;
  }
  return words;
}

// Throws InputError naming `culprit` and the legal words.
template <class T, size_t n>
T ParseChoice(std::string_view culprit, std::string_view word, const Choice<T> (&choices)[n]) {
  for (const Choice<T>& choice : choices) {
    if (word == choice.word || word == choice.other_word) return choice.value;
  }
  throw InputError(culprit, fmt::format("{} is not {}", Quote(word), Words(choices)));
}

// Precondition: `value` is among `choices`.
template <class T, size_t n>
std::string_view WordFor(T value, const Choice<T> (&choices)[n]) {
  size_t i = 0;
  while (choices[i].value != value) ++i;
  return choices[i].word;
}

}  // namespace ropekv::cli

#endif  // ROPEKV_FRONTENDS_CLI_CHOICES_H_
