// SPDX-License-Identifier: Apache-2.0
#include "json.h"

#include <cctype>
#include <cstddef>

namespace ropekv::acl {
namespace {

constexpr int kMaxDepth = 64;

// Each function consumes what it is named after, and returns false if it is not there.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  using Members = std::map<std::string, std::string>;

  bool Object(Members* members, int depth) {
    return List('{', '}', depth, [&] {
      std::string name, scalar;
      if (!String(&name) || !Symbol(':') || !Value(&scalar, depth)) return false;
      if (members && !scalar.empty()) (*members)[name] = scalar;
      return true;
    });
  }

  bool AtEnd() {
    SkipSpace();
    return rest_.empty();
  }

 private:
  void SkipSpace() {
    while (!rest_.empty() && std::string_view(" \t\r\n").find(rest_.front()) != rest_.npos) {
      rest_.remove_prefix(1);
    }
  }

  bool Symbol(char symbol) {
    SkipSpace();
    if (rest_.empty() || rest_.front() != symbol) return false;
    rest_.remove_prefix(1);
    return true;
  }

  template <class Element>
  bool List(char open, char close, int depth, Element element) {
    if (depth > kMaxDepth || !Symbol(open)) return false;
    if (Symbol(close)) return true;
    do {
      if (!element()) return false;
    } while (Symbol(','));
    return Symbol(close);
  }

  bool String(std::string* value) {
    if (!Symbol('"')) return false;
    while (!rest_.empty() && rest_.front() != '"') {
      if (static_cast<unsigned char>(rest_.front()) < 0x20) return false;
      // Escapes stay as written: no key or value that is looked at has one.
      const size_t length = rest_.front() == '\\' ? 2 : 1;
      if (rest_.size() < length) return false;
      value->append(rest_.substr(0, length));
      rest_.remove_prefix(length);
    }
    return Symbol('"');
  }

  bool Word(std::string* value) {
    size_t length = 0;
    while (length < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[length])) ||
                                     std::string_view("+-.").find(rest_[length]) != rest_.npos)) {
      ++length;
    }
    const std::string_view word = rest_.substr(0, length);
    const bool number =
        !word.empty() && (std::isdigit(static_cast<unsigned char>(word[0])) || word[0] == '-');
    if (!number && word != "true" && word != "false" && word != "null") return false;
    value->assign(word);
    rest_.remove_prefix(length);
    return true;
  }

  bool Value(std::string* scalar, int depth) {
    SkipSpace();
    if (rest_.empty()) return false;
    std::string ignored;
    switch (rest_.front()) {
      case '{': return Object(nullptr, depth + 1);
      case '[': return List('[', ']', depth + 1, [&] { return Value(&ignored, depth + 1); });
      case '"': return String(scalar);
      default: return Word(scalar);
    }
  }

  std::string_view rest_;
};

}  // namespace

std::optional<std::map<std::string, std::string>> ParseJsonObject(std::string_view text) {
  Parser parser(text);
  Parser::Members members;
  if (!parser.Object(&members, 0) || !parser.AtEnd()) return std::nullopt;
  return members;
}

}  // namespace ropekv::acl
