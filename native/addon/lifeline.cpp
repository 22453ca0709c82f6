#include "addon/lifeline.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/signals.h"

namespace cidery::addon {
namespace {

/// True when the other end is there and what it sent has been taken.
bool drain(int descriptor) noexcept {
  std::array<char, 4096> dropped;
  const ssize_t got = ::read(descriptor, dropped.data(), dropped.size());
  return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds sign_interval{500};

/// What the other end has not read yet is sign enough, and a pipe carries none.
void give_sign(int descriptor) noexcept {
  const char sign = 1;
#ifdef MSG_NOSIGNAL
  constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
#else
  constexpr int flags = MSG_DONTWAIT;
#endif
  static_cast<void>(::send(descriptor, &sign, 1, flags));
}

int milliseconds_until(Clock::time_point time) noexcept {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, sign_interval.count()));
}

void live_until_close(int descriptor) noexcept {
  for (Clock::time_point next_sign = Clock::now();;) {
    if (Clock::now() >= next_sign) {
      give_sign(descriptor);
      next_sign = Clock::now() + sign_interval;
    }
    struct pollfd watched {};
    watched.fd = descriptor;
    watched.events = POLLIN;
#ifdef POLLRDHUP
    watched.events |= POLLRDHUP;
#endif
    const int ready = ::poll(&watched, 1, milliseconds_until(next_sign));
    if (ready < 0 && errno != EINTR && errno != EAGAIN) return;
    if (ready <= 0) continue;
    if ((watched.revents & ~POLLIN) != 0) return;
    if ((watched.revents & POLLIN) != 0 && !drain(descriptor)) return;
  }
}

}  // namespace

void watch_lifeline(int descriptor, int exit_code) {
  const int own = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (own < 0) {
    throw Error("lifeline_invalid", "descriptor " + std::to_string(descriptor) +
                                        " cannot be watched: " + std::strerror(errno));
  }
#ifdef SO_NOSIGPIPE
  const int on = 1;
  static_cast<void>(::setsockopt(own, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on));
#endif
  const SignalsBlocked blocked;
  std::thread([own, exit_code] {
    live_until_close(own);
    ::_exit(exit_code);
  }).detach();
}

}  // namespace cidery::addon
