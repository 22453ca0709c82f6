#pragma once

#include <cstdint>
#include <memory>

/// Somebody in the middle of the connections that one rank makes to another.
namespace cidery::test {

enum class Fault { none, alter, repeat, swap, cut, half_close, drop };

class Proxy {
 public:
  /// Forwards what arrives at port() to 127.0.0.1:`to`, until `after` bytes of callers' data have
  /// gone through connections; then commits the fault on what comes next.
  Proxy(uint16_t to, Fault fault, size_t after);
  ~Proxy();
  uint16_t port() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cidery::test
