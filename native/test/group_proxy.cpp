#include "test/group_proxy.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <list>
#include <thread>
#include <vector>

#include "group/socket.h"

namespace cidery::test {

using group::Socket;

struct Proxy::State {
  struct Pair {
    Socket caller, called;
    bool broken = false;
  };

  uint16_t port = 0, to = 0;
  Fault fault;
  size_t left;
  Socket listener;
  std::list<Pair> pairs;
  std::vector<std::byte> last;
  bool done = false;
  std::atomic<bool> stopping{false};
  std::thread thread;

  static void write_all(const Socket& socket, std::span<const std::byte> bytes) {
    ::fcntl(socket.get(), F_SETFL, 0);
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      bytes = bytes.subspan(static_cast<size_t>(sent));
    }
    ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  }

  /// What the fault makes of bytes on their way; true when they have been dealt with.
  bool commit(Pair& pair, std::vector<std::byte>& bytes) {
    switch (fault) {
      case Fault::alter:
        bytes[bytes.size() / 2] ^= std::byte{1};
        break;
      case Fault::repeat:
        bytes.insert(bytes.end(), bytes.begin(), bytes.end());
        break;
      case Fault::swap:  // a frame of 40 bytes before the one that went first
        if (bytes.size() >= 80) {
          std::swap_ranges(bytes.begin(), bytes.begin() + 40, bytes.begin() + 40);
        } else {
          last.insert(last.end(), bytes.begin(), bytes.end());
          if (last.size() < 80) return true;
          bytes.assign(last.begin() + 40, last.begin() + 80);
          bytes.insert(bytes.end(), last.begin(), last.begin() + 40);
        }
        break;
      case Fault::cut:
        bytes.resize(bytes.size() / 2);
        write_all(pair.called, bytes);
        ::shutdown(pair.called.get(), SHUT_RDWR);
        ::shutdown(pair.caller.get(), SHUT_RDWR);
        pair.broken = true;
        done = true;
        return true;
      case Fault::half_close:
        ::shutdown(pair.called.get(), SHUT_WR);
        pair.broken = true;
        done = true;
        return true;
      default:
        return false;
    }
    done = true;
    return false;
  }

  void pass(Pair& pair, bool from_caller) {
    std::vector<std::byte> bytes(4096);
    const group::Socket& from = from_caller ? pair.caller : pair.called;
    const group::Socket& into = from_caller ? pair.called : pair.caller;
    const group::Move move = group::read_some(from, bytes);
    // Where packets are dropped the end of a connection does not get through, either.
    if (fault == Fault::drop && left == 0) {
      pair.broken = move.how == group::Moved::closed;
      return;
    }
    if (move.how == group::Moved::closed) {
      pair.broken = true;
      ::shutdown(into.get(), SHUT_WR);
      return;
    }
    bytes.resize(move.bytes);
    if (bytes.empty()) return;
    const bool due = left == 0 && !done && fault != Fault::none;
    if (due && from_caller && commit(pair, bytes)) return;
    if (from_caller) left -= std::min(left, bytes.size());
    write_all(into, bytes);
  }

  void run() {
    while (!stopping.load()) {
      std::vector<pollfd> watched = {{listener.get(), POLLIN, 0}};
      for (const Pair& pair : pairs) {
        watched.push_back({pair.broken ? -1 : pair.caller.get(), POLLIN, 0});
        watched.push_back({pair.broken ? -1 : pair.called.get(), POLLIN, 0});
      }
      ::poll(watched.data(), watched.size(), 20);
      size_t at = 1;
      for (Pair& pair : pairs) {
        if (watched[at++].revents != 0) pass(pair, true);
        if (watched[at++].revents != 0 && !pair.broken) pass(pair, false);
      }
      if (Socket caller = group::accept_from(listener); caller.open()) {
        Pair& pair = pairs.emplace_back();
        pair.caller = std::move(caller);
        pair.called = group::begin_connect({"127.0.0.1", to});
      }
    }
  }
};

Proxy::Proxy(uint16_t to, Fault fault, size_t after) : state_(std::make_unique<State>()) {
  state_->to = to;
  state_->fault = fault;
  state_->left = after;
  state_->listener = group::listen_on("127.0.0.1", state_->port);
  state_->thread = std::thread([this] { state_->run(); });
}

Proxy::~Proxy() {
  state_->stopping.store(true);
  state_->thread.join();
}

uint16_t Proxy::port() const { return state_->port; }

}  // namespace cidery::test
