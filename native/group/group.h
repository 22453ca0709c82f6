#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

/// Ranks of one instance talking to each other. Knows no program and no tensor.
namespace cidery::group {

/// Where a rank listens.
struct Address {
  std::string host;  // a numeric IPv4 or IPv6 address
  uint16_t port = 0;
};

/// A rank that takes nothing for longer than this lasts is one that never will.
constexpr size_t most_kept_bytes = size_t{1} << 30;

struct GroupOptions {
  uint32_t rank = 0;
  std::vector<Address> addresses;  // of every rank, in rank order; its length is the group's size
  std::array<std::byte, 32> key{};  // shared by the ranks of this attempt and by nobody else
  uint32_t connect_ms = 30'000;     // until every rank has connected
  uint32_t silence_ms = 3'000;      // a peer from which nothing was heard for so long is lost
  uint32_t wait_ms = 120'000;       // longest wait for a peer that is alive and sends no data
  size_t kept_bytes = most_kept_bytes;  // of messages that peers have not taken yet
  bool own_cores = true;  // ranks of one host keep the threads that call to a share of its cores
};

enum class Element : uint32_t { f32 = 0, bf16 = 1 };

/// Collectives between ranks. Every call comes from one thread, the step thread, and every rank
/// makes the same calls in the same order (send and receive in pairs). No call waits for its
/// messages to be taken but sums and gathers, which all ranks are in; what a peer has not taken yet
/// is kept, and goes out in later calls. A status that is not ok ends the group: later calls return
/// the same. Codes: `group_peer_lost` (its end closed), `group_silent` (nothing heard within
/// `silence_ms`), `group_timeout` (alive, but no data within `wait_ms`), `group_corrupt` (a frame
/// that was altered, cut, replayed or out of order), `group_mismatch` (the ranks do not make the
/// same calls), `group_failed` (no memory, more kept than `kept_bytes`, or the cipher failed). None
/// throws.
class Group {
 public:
  virtual ~Group() = default;
  virtual uint32_t rank() const noexcept = 0;
  virtual uint32_t size() const noexcept = 0;

  /// `data` becomes the sum over all ranks: parts added in rank order in f32, rounded once, so that
  /// an element's result depends on its parts alone.
  virtual Status all_sum(void* data, size_t count, Element element) noexcept = 0;
  /// `out` becomes the ranks' parts, one behind the other; `bytes[r]` is rank r's, own included.
  /// `mine` may lie at its place within `out`.
  virtual Status all_gather(const void* mine, void* out,
                            const std::vector<size_t>& bytes) noexcept = 0;
  /// As `all_gather`, but `root` alone gets the parts; elsewhere `out` is not used.
  virtual Status gather(const void* mine, void* out, const std::vector<size_t>& bytes,
                        uint32_t root) noexcept;
  virtual Status broadcast(void* data, size_t bytes, uint32_t root) noexcept = 0;
  virtual Status send(const void* data, size_t bytes, uint32_t to) noexcept = 0;
  virtual Status receive(void* data, size_t bytes, uint32_t from) noexcept = 0;
  /// Waits until `from` has begun a call that brings something here, however long that takes: for a
  /// rank that has nothing to do until then. Ends as other calls do when the peer is lost.
  virtual Status await(uint32_t from) noexcept = 0;
  /// From any thread: ends the group on every rank, unless it has ended. What waits returns `why`;
  /// other ranks get its code where it is one of these or `rank_disagrees`, else `group_failed`.
  virtual void fail(Status why) noexcept = 0;
};

/// A socket that waits for the other ranks.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual uint16_t port() const noexcept = 0;
};

/// Listens on a free port of `host`. Throws Error `group_listen_failed`.
std::unique_ptr<Listener> listen(const std::string& host);

/// Connects to every other rank and proves to each that it has the key. Throws Error
/// `group_connect_failed` that names the rank, `group_refused` when one has another key.
std::unique_ptr<Group> connect_tcp(std::unique_ptr<Listener> listener, const GroupOptions& options);

/// `size` groups within one process, one for each of `size` threads: for tests.
std::vector<std::unique_ptr<Group>> open_local(uint32_t size,
                                               size_t kept_bytes = most_kept_bytes);

}  // namespace cidery::group
