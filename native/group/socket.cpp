#include "group/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

namespace cidery::group {
namespace {

#ifdef MSG_NOSIGNAL
constexpr int no_signal = MSG_NOSIGNAL;
#else
constexpr int no_signal = 0;
#endif
/// Callers that the system keeps while we are busy; more are refused by it.
constexpr int backlog = 64;

using Found = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Found resolve(const std::string& host, uint16_t port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found) != 0) {
    found = nullptr;
  }
  return Found(found, &::freeaddrinfo);
}

bool prepare(int descriptor) noexcept {
  return ::fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 &&
         ::fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0;
}

void set(int descriptor, int level, int option, int value) noexcept {
  // All of these only help; a system that lacks one still connects.
  static_cast<void>(::setsockopt(descriptor, level, option, &value, sizeof value));
}

void prepare_stream(int descriptor) noexcept {
  set(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
#ifdef TCP_CONGESTION
  // A system's own choice may pace what is sent, which costs a fast network a fifth and more.
  for (const std::string_view control : {"cubic", "reno"}) {
    if (::setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, control.data(),
                     static_cast<socklen_t>(control.size())) == 0) {
      break;
    }
  }
#endif
#ifdef SO_NOSIGPIPE
  set(descriptor, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
}

Move moved(ssize_t count) noexcept {
  if (count > 0) return {Moved::some, static_cast<size_t>(count)};
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return {Moved::none};
  }
  return {Moved::closed};
}

}  // namespace

Socket::~Socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Move read_some(const Socket& socket, std::span<std::byte> into) noexcept {
  if (into.empty()) return {Moved::none};
  return moved(::recv(socket.get(), into.data(), into.size(), MSG_DONTWAIT));
}

Move write_some(const Socket& socket, std::span<const std::byte> from) noexcept {
  if (from.empty()) return {Moved::none};
  return moved(::send(socket.get(), from.data(), from.size(), MSG_DONTWAIT | no_signal));
}

Socket listen_on(const std::string& host, uint16_t& port) {
  const auto fail = [&](const std::string& why) {
    throw Error("group_listen_failed", "cannot listen on '" + host + "': " + why);
  };
  const Found address = resolve(host, 0);
  if (address == nullptr) fail("it is no numeric address");
  Socket socket(::socket(address->ai_family, SOCK_STREAM, 0));
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (!socket.open() || !prepare(socket.get()) ||
      ::bind(socket.get(), address->ai_addr, address->ai_addrlen) != 0 ||
      ::listen(socket.get(), backlog) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    fail(std::strerror(errno));
  }
  port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  return socket;
}

Socket accept_from(const Socket& listener) noexcept {
  Socket caller(::accept(listener.get(), nullptr, nullptr));
  if (!caller.open()) return caller;
  if (!prepare(caller.get())) return Socket();
  prepare_stream(caller.get());
  return caller;
}

Socket begin_connect(const Address& address) {
  const Found found = resolve(address.host, address.port);
  if (found == nullptr) {
    throw Error("group_connect_failed", "'" + address.host + "' is no numeric address");
  }
  Socket socket(::socket(found->ai_family, SOCK_STREAM, 0));
  if (!socket.open() || !prepare(socket.get())) return Socket();
  prepare_stream(socket.get());
  if (::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
    return Socket();
  }
  return socket;
}

int connect_result(const Socket& socket) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

void limit_silence(const Socket& socket, uint32_t most_ms) noexcept {
  set(socket.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_USER_TIMEOUT
  set(socket.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(most_ms));
#else
  static_cast<void>(most_ms);
#endif
}

Waker::Waker() {
  int ends[2] = {-1, -1};
  if (::pipe(ends) != 0) throw Error("group_connect_failed", "no pipe can be made");
  read_ = Socket(ends[0]);
  write_ = Socket(ends[1]);
  if (!prepare(ends[0]) || !prepare(ends[1])) {
    throw Error("group_connect_failed", "a pipe cannot be made ready");
  }
}

void Waker::wake() noexcept {
  // A pipe that is full wakes, too.
  const char byte = 0;
  static_cast<void>(!::write(write_.get(), &byte, 1));
}

}  // namespace cidery::group
