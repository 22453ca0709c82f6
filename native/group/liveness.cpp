#include "group/liveness.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "base/signals.h"

namespace cidery::group {
namespace {

/// Signs of life within the time after which silence is death.
constexpr uint32_t beats = 6;
constexpr auto goodbye_time = std::chrono::milliseconds(300);
constexpr auto goodbye_turn = std::chrono::milliseconds(1);
constexpr std::array<const char*, 7> codes = {"group_failed",  "group_peer_lost", "group_silent",
                                              "group_timeout", "group_corrupt",   "group_mismatch",
                                              "rank_disagrees"};

uint64_t number_of(const std::string& code) noexcept {
  for (uint64_t i = 0; i < codes.size(); ++i) {
    if (code == codes[i]) return i;
  }
  return 0;
}

}  // namespace

Liveness::Liveness(std::vector<std::vector<Connection>> connections, uint32_t silence_ms)
    : silence_ms_(silence_ms), peers_(connections.size()) {
  for (uint32_t r = 0; r < peers_.size(); ++r) {
    peers_[r].connection = std::move(connections[r]);
    if (!peers_[r].connection.empty()) ++not_ready_;
  }
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
}

Liveness::~Liveness() {
  stopping_.store(true, std::memory_order_release);
  stirred_.wake();
  thread_.join();
}

bool Liveness::wait_until_ready(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  return ready_changed_.wait_until(lock, until, [this] {
    return not_ready_ == 0 || !failure_.ok();
  }) && failure_.ok();
}

Status Liveness::fail(Status status) noexcept {
  set_failure(std::move(status));
  std::unique_lock lock(mutex_);
  told_changed_.wait_for(lock, goodbye_time, [this] { return told_; });
  return failure_;
}

void Liveness::set_failure(Status status) noexcept {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok() || status.ok()) return;
  failure_ = std::move(status);
  failed_.store(true, std::memory_order_release);
  woken_.wake();
  stirred_.wake();
  ready_changed_.notify_all();
}

Status Liveness::failure() noexcept {
  return failed() ? fail({}) : Status{};
}

void Liveness::run() noexcept {
  const auto pause = std::chrono::milliseconds(std::max(1u, silence_ms_ / beats));
  tell_all(Kind::ready, 0);
  auto last_turn = Clock::now(), next_beat = last_turn + pause;
  while (!failed() && !stopping_.load(std::memory_order_acquire)) {
    wait(next_beat);
    // What was sent while this rank itself did not run is read before anybody is judged.
    for (uint32_t r = 0; r < peers_.size(); ++r) listen_to(r);
    const auto now = Clock::now();
    const bool was_away = now - last_turn > std::chrono::milliseconds(silence_ms_ / 2);
    last_turn = now;
    if (was_away) {
      for (Peer& peer : peers_) peer.last = now;
    }
    judge(now);
    if (now < next_beat) continue;
    tell_all(Kind::beat, 0);
    next_beat = now + pause;
  }
  if (failed()) {
    tell_all(Kind::failed, number_of(failure_.code));  // it changes no more
  } else {
    tell_all(Kind::leaving, 0);
  }
  {
    const std::lock_guard lock(mutex_);
    told_ = true;
    told_changed_.notify_all();
  }
  say_goodbye();
}

/// A connection that is closed with something unread in it takes back what was said last: reads
/// until the peers have ended theirs, too, but not for long.
void Liveness::say_goodbye() noexcept {
  for (Peer& peer : peers_) {
    for (Connection& connection : peer.connection) ::shutdown(connection.socket().get(), SHUT_WR);
  }
  std::array<std::byte, 256> unread;
  const auto until = Clock::now() + goodbye_time;
  while (Clock::now() < until) {
    bool open = false;
    for (Peer& peer : peers_) {
      if (peer.connection.empty() || peer.closed) continue;
      Move move{};
      do {
        move = read_some(peer.connection[0].socket(), unread);
      } while (move.how == Moved::some);
      peer.closed = move.how == Moved::closed;
      open = open || !peer.closed;
    }
    if (!open) return;
    std::this_thread::sleep_for(goodbye_turn);
  }
}

void Liveness::wait(Clock::time_point until) noexcept {
  std::array<pollfd, 64> watched;
  nfds_t count = 0;
  watched[count++] = {stirred_.descriptor(), POLLIN, 0};
  for (const Peer& peer : peers_) {
    if (peer.connection.empty() || peer.closed || count == watched.size()) continue;
    watched[count++] = {peer.connection[0].socket().get(), POLLIN, 0};
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
  static_cast<void>(
      ::poll(watched.data(), count, static_cast<int>(std::max<int64_t>(0, left.count()))));
}

void Liveness::listen_to(uint32_t rank) noexcept {
  Peer& peer = peers_[rank];
  if (peer.connection.empty() || peer.closed) return;
  Connection& connection = peer.connection[0];
  const Header expected{0, tag_of(Kind::beat), 0};
  for (;;) {
    const Move move = read_some(connection.socket(), connection.inbox().room(expected));
    connection.inbox().arrived(move.bytes);
    if (move.how == Moved::none) return;
    if (move.how == Moved::closed) {
      peer.closed = true;
      if (!peer.left.load()) set_failure({"group_peer_lost", named(rank) + " is gone"});
      return;
    }
    switch (connection.inbox().next(expected, nullptr)) {
      case Inbox::Outcome::more:
        continue;
      case Inbox::Outcome::corrupt:
        set_failure({"group_corrupt", "a sign of life of " + named(rank) + " was tampered with"});
        return;
      case Inbox::Outcome::opened:
        break;
      case Inbox::Outcome::other:
        take(rank, connection.inbox().header());
        break;
    }
    peer.last = Clock::now();
  }
}

void Liveness::take(uint32_t rank, const Header& header) noexcept {
  Peer& peer = peers_[rank];
  if (header.kind == tag_of(Kind::leaving)) {
    peer.left.store(true, std::memory_order_release);
    ::shutdown(peer.connection[0].socket().get(), SHUT_WR);
  } else if (header.kind == tag_of(Kind::failed)) {
    const char* code = codes[header.total < codes.size() ? header.total : 0];
    set_failure({code, named(rank) + " has ended the group: " + code});
  } else if (header.kind == tag_of(Kind::ready) && !peer.ready) {
    peer.ready = true;
    const std::lock_guard lock(mutex_);
    --not_ready_;
    ready_changed_.notify_all();
  }
}

void Liveness::judge(Clock::time_point now) noexcept {
  for (uint32_t r = 0; r < peers_.size(); ++r) {
    Peer& peer = peers_[r];
    if (peer.heard.exchange(false, std::memory_order_relaxed)) peer.last = now;
    if (!peer.ready || peer.left.load() || peer.closed) continue;
    if (now - peer.last < std::chrono::milliseconds(silence_ms_)) continue;
    set_failure({"group_silent", named(r) + " gave no sign of life for " +
                                     std::to_string(silence_ms_) +
                                     " ms: it is stopped, or cut off"});
  }
}

void Liveness::tell_all(Kind kind, uint64_t detail) noexcept {
  for (Peer& peer : peers_) {
    if (peer.connection.empty() || peer.closed || peer.left.load()) continue;
    Connection& connection = peer.connection[0];
    // A peer that does not read gets no further beats; those it has tell it enough.
    if (!connection.flushed()) static_cast<void>(connection.flush());
    if (!connection.flushed()) continue;
    if (connection.seal({0, tag_of(kind), detail}, nullptr)) static_cast<void>(connection.flush());
  }
}

}  // namespace cidery::group
