#include "addon/lifeline.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
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

void wait_for_close(int descriptor) noexcept {
  for (;;) {
    struct pollfd watched {};
    watched.fd = descriptor;
    watched.events = POLLIN;
#ifdef POLLRDHUP
    watched.events |= POLLRDHUP;
#endif
    if (::poll(&watched, 1, -1) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return;
    }
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
  const SignalsBlocked blocked;
  std::thread([own, exit_code] {
    wait_for_close(own);
    ::_exit(exit_code);
  }).detach();
}

}  // namespace cidery::addon
