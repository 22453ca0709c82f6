#pragma once

#include <exception>
#include <string>
#include <utility>

namespace cidery {

/// An error that reaches JavaScript with its code. Thrown while loading, binding and checking only;
/// a step returns a Status instead.
class Error : public std::exception {
 public:
  Error(std::string code, std::string message)
      : code_(std::move(code)), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& code() const noexcept { return code_; }

 private:
  std::string code_;
  std::string message_;
};

/// How a step ended: an empty code means well.
struct Status {
  std::string code;
  std::string message;
  bool ok() const noexcept { return code.empty(); }
};

}  // namespace cidery
