#include <poll.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/cores.h"
#include "base/pause.h"
#include "group/liveness.h"
#include "group/sum.h"
#include "group/transfer.h"

/// The group over sockets: a connection between every two ranks.
namespace cidery::group {
namespace {

using namespace std::chrono_literals;

/// Up to here everybody gets every part: one message's time; above, each rank adds its share.
constexpr size_t most_whole_sum_bytes = 16 << 10;
/// The same for two ranks, which send as much either way: it is one wait against half the adding.
constexpr size_t most_whole_pair_bytes = 1 << 20;
/// Looking for data without sleeping; a pool's workers spin as long.
constexpr auto spin_time = 50us;
/// How long a connection's end waits for the reason that the peer's other connection may bring.
constexpr int reason_ms = 200;

class TcpGroup final : public Group {
 public:
  TcpGroup(Met met, const GroupOptions& options)
      : rank_(options.rank),
        wait_(std::chrono::milliseconds(options.wait_ms)),
        patience_(std::chrono::milliseconds(options.silence_ms)),
        kept_bytes_(options.kept_bytes),
        peers_(met.by_rank.size()),
        parts_(peers_.size()),
        scratch_(peers_.size()) {
    std::vector<std::vector<Connection>> alive(peers_.size());
    for (uint32_t r = 0; r < peers_.size(); ++r) {
      if (r == rank_) continue;
      alive[r].push_back(std::move(met.by_rank[r][liveness_channel]));
      for (uint32_t lane = 0; lane < data_channels; ++lane) {
        peers_[r].lanes.push_back(std::move(met.by_rank[r][lane]));
      }
    }
    watched_.reserve(1 + peers_.size() * data_channels);
    liveness_ = std::make_unique<Liveness>(std::move(alive), options.silence_ms);
  }

  /// What was sent and not taken yet is still handed over, to peers that take it.
  ~TcpGroup() override {
    static_cast<void>(wait(patience_, [this](bool& some, bool& pending) noexcept {
      return flush_all(some, pending);
    }));
  }

  /// Ranks of one machine get cores of their own, for the thread that calls this. A receiver that
  /// is woken where its sender runs waits for the sender's work, and one that looks for data there
  /// holds it up.
  void take_cores(const GroupOptions& options) noexcept {
    const auto here = [&](const Address& address) {
      return address.host == options.addresses[rank_].host;
    };
    const auto first = options.addresses.begin();
    const auto before = std::count_if(first, first + rank_, here);
    const auto all = std::count_if(first, options.addresses.end(), here);
    const bool own =
        all == 1 || keep_to_share(static_cast<uint32_t>(before), static_cast<uint32_t>(all));
    spin_ = own ? spin_time : Clock::duration{};
  }

  bool wait_until_ready(Clock::time_point until) { return liveness_->wait_until_ready(until); }
  Status failure() { return liveness_->failure(); }

  uint32_t rank() const noexcept override { return rank_; }
  uint32_t size() const noexcept override { return static_cast<uint32_t>(peers_.size()); }

  Status all_sum(void* data, size_t count, Element element) noexcept override {
    if (size() == 1) return {};
    auto* bytes = static_cast<std::byte*>(data);
    const size_t width = bytes_of(element);
    const size_t most = size() == 2 ? most_whole_pair_bytes : most_whole_sum_bytes;
    return count * width <= most ? sum_whole(bytes, count, element)
                                 : sum_shares(bytes, count, element);
  }

  Status all_gather(const void* mine, void* out,
                    const std::vector<size_t>& bytes) noexcept override {
    if (bytes.size() != size()) {
      return end({"group_mismatch", "an all_gather needs a size for each rank"});
    }
    auto* to = static_cast<std::byte*>(out);
    for (uint32_t r = 0; r < size(); to += bytes[r++]) {
      if (r != rank_) {
        send_to(r, tag_of(Kind::gather), mine, bytes[rank_]);
        receive_from(r, tag_of(Kind::gather), to, bytes[r]);
      } else if (to != mine && bytes[r] > 0) {
        std::memcpy(to, mine, bytes[r]);
      }
    }
    return exchange(Until::sent);
  }

  Status broadcast(void* data, size_t bytes, uint32_t root) noexcept override {
    if (root >= size()) return end(no_such_rank(root));
    const uint32_t tag = tag_of(Kind::broadcast, root);
    if (rank_ != root) {
      receive_from(root, tag, data, bytes);
      return exchange(Until::received);
    }
    for (uint32_t r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      if (Status status = post(r, tag, data, bytes); !status.ok()) return status;
    }
    return flush_all();
  }

  Status send(const void* data, size_t bytes, uint32_t to) noexcept override {
    if (to >= size() || to == rank_) return end(no_such_rank(to));
    if (Status status = post(to, tag_of(Kind::message), data, bytes); !status.ok()) return status;
    return flush_all();
  }

  Status receive(void* data, size_t bytes, uint32_t from) noexcept override {
    if (from >= size() || from == rank_) return end(no_such_rank(from));
    receive_from(from, tag_of(Kind::message), data, bytes);
    return exchange(Until::received);
  }

  Status await(uint32_t from) noexcept override {
    if (from >= size() || from == rank_) return end(no_such_rank(from));
    // Every message begins on the first connection.
    Connection& first = peers_[from].lanes[0];
    peers_[from].awaited = true;
    Status status = wait(Clock::duration::max(), [&](bool& some, bool& pending) noexcept {
      if (Status flushed = flush_all(some, pending); !flushed.ok()) return flushed;
      if (first.inbox().kept() == 0) {
        const Move move = read_some(first.socket(), first.inbox().room({}));
        if (move.how == Moved::closed) return lost(from);
        first.inbox().arrived(move.bytes);
      }
      pending = first.inbox().kept() == 0;
      return Status{};
    });
    peers_[from].awaited = false;
    return status;
  }

  void fail(Status why) noexcept override { static_cast<void>(end(std::move(why))); }

 private:
  struct Peer {
    std::vector<Connection> lanes;
    Transfer out, in;
    bool awaited = false;
  };
  /// What a call waits for: the data that it wants, or also that its own have gone out.
  enum class Until { received, sent };

  static Status no_such_rank(uint32_t rank) {
    return {"group_mismatch", named(rank) + " is no other rank of this group"};
  }

  void send_to(uint32_t rank, uint32_t tag, const void* data, size_t bytes) noexcept {
    // A transfer that goes out only reads.
    auto* from = const_cast<std::byte*>(static_cast<const std::byte*>(data));
    peers_[rank].out = Transfer(tag, from, bytes);
  }
  void receive_from(uint32_t rank, uint32_t tag, void* data, size_t bytes) noexcept {
    peers_[rank].in = Transfer(tag, static_cast<std::byte*>(data), bytes);
  }

  Status end(Status status) noexcept { return liveness_->fail(std::move(status)); }

  bool reserve(size_t bytes) noexcept {
    try {
      for (uint32_t r = 0; r < size(); ++r) {
        if (r != rank_ && scratch_[r].size() < bytes) scratch_[r].resize(bytes);
      }
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  }

  /// Everybody adds up everything, as it comes: what has been sealed may be written over.
  Status sum_whole(std::byte* data, size_t count, Element element) noexcept {
    const size_t width = bytes_of(element), bytes = count * width;
    if (!reserve(bytes)) return end({"group_failed", "no memory for a sum"});
    const uint32_t tag = tag_of(Kind::sum_whole, static_cast<uint32_t>(element));
    for (uint32_t r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      send_to(r, tag, data, bytes);
      receive_from(r, tag, scratch_[r].data(), bytes);
    }
    size_t added = 0;
    return exchange(Until::sent, [&]() noexcept {
      size_t there = bytes;
      for (uint32_t r = 0; r < size(); ++r) {
        if (r == rank_) continue;
        there = std::min({there, peers_[r].in.moved(), peers_[r].out.moved()});
      }
      add_up(data, added, there, element);
      added = there;
    });
  }

  /// Adds the scratch of the others to `own`, from byte `begin` to `end`.
  void add_up(std::byte* own, size_t begin, size_t end, Element element) noexcept {
    if (end <= begin) return;
    for (uint32_t r = 0; r < size(); ++r) {
      parts_[r] = (r == rank_ ? own : scratch_[r].data()) + begin;
    }
    add_in_order(own + begin, parts_, (end - begin) / bytes_of(element), element);
  }

  /// Each rank adds up one share of the elements, in rank order, and hands it to all.
  Status sum_shares(std::byte* data, size_t count, Element element) noexcept {
    const size_t width = bytes_of(element);
    const Share own = share_of(count, rank_, size());
    if (!reserve(own.count * width)) return end({"group_failed", "no memory for a sum"});
    const uint32_t detail = static_cast<uint32_t>(element);
    for (uint32_t r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      const Share share = share_of(count, r, size());
      send_to(r, tag_of(Kind::sum_share, detail), data + share.first * width, share.count * width);
      receive_from(r, tag_of(Kind::sum_share, detail), scratch_[r].data(), own.count * width);
    }
    size_t added = 0;
    const Status status = exchange(Until::sent, [&]() noexcept {
      size_t there = own.count * width;
      for (uint32_t r = 0; r < size(); ++r) {
        if (r != rank_) there = std::min(there, peers_[r].in.moved());
      }
      std::byte* share = data + own.first * width;
      add_up(share, added, there, element);
      added = there;
    });
    if (!status.ok()) return status;
    for (uint32_t r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      const Share share = share_of(count, r, size());
      std::byte* place = data + share.first * width;
      send_to(r, tag_of(Kind::sum_done, detail), data + own.first * width, own.count * width);
      receive_from(r, tag_of(Kind::sum_done, detail), place, share.count * width);
    }
    return exchange(Until::sent);
  }

  /// Hands a message over to be written when the peer takes it.
  Status post(uint32_t rank, uint32_t tag, const void* data, size_t bytes) noexcept {
    if (liveness_->failed()) return liveness_->failure();
    send_to(rank, tag, data, bytes);
    Peer& peer = peers_[rank];
    for (uint32_t lane = 0; !peer.out.done(); lane = (lane + 1) % peer.lanes.size()) {
      if (!peer.out.goes_over(lane)) continue;
      Connection& connection = peer.lanes[lane];
      if (!connection.keep(peer.out.header(lane), peer.out.place(lane))) {
        return end({"group_failed", "a message cannot be sealed, or there is no memory for it"});
      }
      peer.out.advance(lane);
      if (connection.flush() == Moved::closed) return lost(rank);
      if (kept() > kept_bytes_) {
        return end({"group_failed", named(rank) + " does not take what is sent to it"});
      }
    }
    return {};
  }

  size_t kept() const noexcept {
    size_t bytes = 0;
    for (const Peer& peer : peers_) {
      for (const Connection& connection : peer.lanes) bytes += connection.kept_bytes();
    }
    return bytes;
  }

  Status flush_all() noexcept {
    bool some = false, pending = false;
    return flush_all(some, pending);
  }

  Status flush_all(bool& some, bool& pending) noexcept {
    for (uint32_t r = 0; r < size(); ++r) {
      for (Connection& connection : peers_[r].lanes) {
        if (connection.flushed()) continue;
        const Moved moved = connection.flush();
        if (moved == Moved::closed) return lost(r);
        some = some || moved == Moved::some;
        pending = pending || !connection.flushed();
      }
    }
    return {};
  }

  Status exchange(Until until) noexcept {
    return exchange(until, []() noexcept {});
  }

  /// Moves all transfers to their end, writing and reading in turn so that no two ranks wait for
  /// each other. `on_progress` is called after bytes have moved.
  template <class OnProgress>
  Status exchange(Until until, OnProgress&& on_progress) noexcept {
    return wait(wait_, [&](bool& some, bool& pending) noexcept {
      for (uint32_t r = 0; r < size(); ++r) {
        if (Status status = move(r, until, some, pending); !status.ok()) return status;
      }
      if (some) on_progress();
      return Status{};
    });
  }

  /// Takes turns until none leaves anything pending; `most`: without any of them moving something.
  template <class Turn>
  Status wait(Clock::duration most, Turn&& turn) noexcept {
    auto last = Clock::now();
    for (;;) {
      if (liveness_->failed()) return liveness_->failure();
      bool some = false, pending = false;
      if (Status status = turn(some, pending); !status.ok()) return status;
      if (!pending) return {};
      const auto now = Clock::now();
      if (some) last = now;
      if (now - last >= most) return timed_out();
      if (some) continue;
      if (now - last < spin_) {
        pause();
      } else {
        sleep(most - (now - last));
      }
    }
  }

  Status move(uint32_t rank, Until until, bool& some, bool& pending) noexcept {
    Peer& peer = peers_[rank];
    for (uint32_t lane = 0; lane < peer.lanes.size(); ++lane) {
      Connection& connection = peer.lanes[lane];
      if (connection.flushed() && peer.out.goes_over(lane)) {
        if (!connection.seal(peer.out.header(lane), peer.out.place(lane))) {
          return end({"group_failed", "a message cannot be sealed"});
        }
        peer.out.advance(lane);
      }
      if (!connection.flushed()) {
        const Moved moved = connection.flush();
        if (moved == Moved::closed) return lost(rank);
        some = some || moved == Moved::some;
      }
      pending = pending || peer.out.goes_over(lane);
      pending = pending || (until == Until::sent && !connection.flushed());
      if (peer.in.goes_over(lane)) {
        if (Status status = take(rank, lane, some); !status.ok()) return status;
      }
      pending = pending || peer.in.goes_over(lane);
    }
    return {};
  }

  Status take(uint32_t rank, uint32_t lane, bool& some) noexcept {
    Connection& connection = peers_[rank].lanes[lane];
    Transfer& in = peers_[rank].in;
    const Header expected = in.header(lane);
    const auto room = connection.inbox().room(expected);
    const Move move = read_some(connection.socket(), room);
    connection.inbox().arrived(move.bytes);
    switch (connection.inbox().next(expected, in.place(lane))) {
      case Inbox::Outcome::more:
        if (move.how == Moved::closed) return lost(rank);
        some = some || move.how == Moved::some;
        return {};
      case Inbox::Outcome::opened:
        in.advance(lane);
        some = true;
        liveness_->heard(rank);
        return {};
      case Inbox::Outcome::other:
        return end({"group_mismatch", named(rank) + " makes another call than this rank"});
      default:
        return end({"group_corrupt", "a frame of " + named(rank) +
                                         " was altered, cut, repeated or out of order"});
    }
  }

  void sleep(Clock::duration most) noexcept {
    watched_.clear();
    watched_.push_back({liveness_->descriptor(), POLLIN, 0});
    for (const Peer& peer : peers_) {
      for (uint32_t lane = 0; lane < peer.lanes.size(); ++lane) {
        short events = 0;
        if (!peer.lanes[lane].flushed()) events |= POLLOUT;
        if (peer.in.goes_over(lane) || (peer.awaited && lane == 0)) events |= POLLIN;
        if (events != 0) watched_.push_back({peer.lanes[lane].socket().get(), events, 0});
      }
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(most).count();
    static_cast<void>(::poll(watched_.data(), static_cast<nfds_t>(watched_.size()),
                             static_cast<int>(std::clamp<int64_t>(left, 0, 60'000))));
  }

  /// A connection has ended. If the peer has a reason it comes on another connection.
  Status lost(uint32_t rank) noexcept {
    pollfd reason{liveness_->descriptor(), POLLIN, 0};
    if (!liveness_->has_left(rank)) static_cast<void>(::poll(&reason, 1, reason_ms));
    const char* how = liveness_->has_left(rank) ? " has left the group" : " has closed its end";
    return end({"group_peer_lost", named(rank) + how});
  }

  Status timed_out() noexcept {
    uint32_t rank = 0;
    const auto is_through = [](const Peer& peer) {
      return peer.in.done() && peer.out.done() &&
             std::ranges::all_of(peer.lanes, [](const Connection& c) { return c.flushed(); });
    };
    while (rank + 1 < size() && is_through(peers_[rank])) ++rank;
    return end({"group_timeout", named(rank) + " is alive, but sends or takes no data"});
  }

  const uint32_t rank_;
  const Clock::duration wait_, patience_;
  const size_t kept_bytes_;
  std::vector<Peer> peers_;
  std::vector<const void*> parts_;
  std::vector<std::vector<std::byte>> scratch_;  // by rank: what others bring to a sum
  std::vector<pollfd> watched_;
  Clock::duration spin_{};
  std::unique_ptr<Liveness> liveness_;  // last: it ends, and says so, before connections close
};

class TcpListener final : public Listener {
 public:
  explicit TcpListener(const std::string& host) : socket_(listen_on(host, port_)) {}
  uint16_t port() const noexcept override { return port_; }
  const Socket& socket() const noexcept { return socket_; }

 private:
  uint16_t port_ = 0;
  Socket socket_;
};

}  // namespace

std::unique_ptr<Listener> listen(const std::string& host) {
  return std::make_unique<TcpListener>(host);
}

std::unique_ptr<Group> connect_tcp(std::unique_ptr<Listener> listener,
                                   const GroupOptions& options) {
  const auto* tcp = dynamic_cast<const TcpListener*>(listener.get());
  if (tcp == nullptr || options.rank >= options.addresses.size() || options.addresses.size() > 60) {
    throw Error("group_connect_failed", "a group has 1 to 60 ranks, a listener and an own rank");
  }
  const auto until = Clock::now() + std::chrono::milliseconds(options.connect_ms);
  auto group = std::make_unique<TcpGroup>(meet_all(tcp->socket(), options), options);
  listener.reset();  // nobody else is expected
  if (!group->wait_until_ready(until)) {
    const Status why = group->failure();
    throw Error("group_connect_failed",
                why.ok() ? "not every rank has connected to all others in time" : why.message);
  }
  if (options.own_cores) group->take_cores(options);
  return group;
}

}  // namespace cidery::group
