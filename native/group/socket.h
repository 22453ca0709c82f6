#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "group/group.h"

namespace cidery::group {

using Clock = std::chrono::steady_clock;

/// A descriptor that is closed with its owner.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket();
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  int get() const noexcept { return descriptor_; }
  bool open() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

/// How reading or writing without waiting went.
enum class Moved { some, none, closed };
struct Move {
  Moved how;
  size_t bytes = 0;
};
Move read_some(const Socket& socket, std::span<std::byte> into) noexcept;
Move write_some(const Socket& socket, std::span<const std::byte> from) noexcept;

/// Listens on a free port of a numeric address. Throws Error `group_listen_failed`.
Socket listen_on(const std::string& host, uint16_t& port);
/// The next caller, or a closed Socket.
Socket accept_from(const Socket& listener) noexcept;
/// Begins to connect; a closed Socket when that fails at once. Throws Error `group_connect_failed`
/// for an address that is no numeric one.
Socket begin_connect(const Address& address);
/// The errno with which a connection that was begun ended, 0 when it is made.
int connect_result(const Socket& socket) noexcept;
/// A second line behind the signs of life: the system itself gives up after so long.
void limit_silence(const Socket& socket, uint32_t most_ms) noexcept;

/// Two descriptors of a pipe that is read and written without waiting: wakes a thread out of poll.
class Waker {
 public:
  Waker();
  int descriptor() const noexcept { return read_.get(); }
  void wake() noexcept;

 private:
  Socket read_, write_;
};

}  // namespace cidery::group
