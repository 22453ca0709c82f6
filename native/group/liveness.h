#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "group/meeting.h"

namespace cidery::group {

/// A rank in an error.
inline std::string named(uint32_t rank) { return "rank " + std::to_string(rank); }

/// A thread of each rank that gives and hears signs of life on connections of its own, so that a
/// peer that computes for long is alive, and one that is stopped, dead or cut off is found whatever
/// the step thread waits for. Owns the group's one failure; a failure is told to all peers.
class Liveness {
 public:
  /// `connections` by rank; the own one and others that are empty are skipped.
  Liveness(std::vector<std::vector<Connection>> connections, uint32_t silence_ms);
  /// Tells the peers that this rank leaves in order, unless the group has failed.
  ~Liveness();

  /// Waits until every peer is connected to all ranks, so that none is held to be silent that still
  /// waits for others. False when that does not come before `until`.
  bool wait_until_ready(Clock::time_point until);

  bool failed() const noexcept { return failed_.load(std::memory_order_acquire); }
  /// The first failure; `status` becomes it if there was none. Returns once the peers have been
  /// told, so that whoever ends the process then leaves nobody without the reason.
  Status fail(Status status) noexcept;
  /// The failure, likewise, or none.
  Status failure() noexcept;
  /// Readable once the group has failed.
  int descriptor() const noexcept { return woken_.descriptor(); }
  /// The step thread has heard of this rank.
  void heard(uint32_t rank) noexcept { peers_[rank].heard.store(true, std::memory_order_relaxed); }
  bool has_left(uint32_t rank) const noexcept {
    return peers_[rank].left.load(std::memory_order_acquire);
  }

 private:
  struct Peer {
    std::vector<Connection> connection;  // none or one
    Clock::time_point last{};
    bool ready = false, closed = false;
    std::atomic<bool> left{false};
    std::atomic<bool> heard{false};
  };

  void set_failure(Status status) noexcept;
  void run() noexcept;
  void listen_to(uint32_t rank) noexcept;
  void take(uint32_t rank, const Header& header) noexcept;
  void judge(Clock::time_point now) noexcept;
  void tell_all(Kind kind, uint64_t detail) noexcept;
  void say_goodbye() noexcept;
  void wait(Clock::time_point until) noexcept;

  const uint32_t silence_ms_;
  std::vector<Peer> peers_;
  Waker woken_, stirred_;
  std::atomic<bool> failed_{false}, stopping_{false};
  std::mutex mutex_;
  std::condition_variable ready_changed_, told_changed_;
  Status failure_;
  size_t not_ready_ = 0;
  bool told_ = false;
  std::thread thread_;
};

}  // namespace cidery::group
