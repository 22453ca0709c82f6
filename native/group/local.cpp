#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>

#include "group/frame.h"
#include "group/sum.h"

/// Groups whose ranks are threads of one process.
namespace cidery::group {
namespace {

using namespace std::chrono_literals;

/// As long as `wait_ms` of a group over sockets: a test that hangs ends.
constexpr auto longest_wait = 120s;

struct Letter {
  Header header;  // `bytes` is not used: a letter is never cut
  std::vector<std::byte> data;
};

std::string named(uint32_t rank) { return "rank " + std::to_string(rank); }

/// What the ranks share: letters on their way from each rank to each other.
class Room {
 public:
  Room(uint32_t size, size_t kept_bytes)
      : size_(size), kept_bytes_(kept_bytes), left_(size, false), mail_(size_t{size} * size) {}

  uint32_t size() const noexcept { return size_; }

  Status put(const Header& header, const void* data, uint32_t from, uint32_t to) {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    if (left_[to]) return fail_locked(lost(to));
    kept_ += header.total;
    if (kept_ > kept_bytes_) {
      return fail_locked({"group_failed", named(to) + " does not take what is sent to it"});
    }
    const auto* begin = static_cast<const std::byte*>(data);
    queue(from, to).push_back({header, std::vector<std::byte>(begin, begin + header.total)});
    changed_.notify_all();
    return {};
  }

  Status take(const Header& header, void* data, uint32_t from, uint32_t to) {
    std::unique_lock lock(mutex_);
    if (Status status = wait(lock, from, to, Clock::now() + longest_wait); !status.ok()) {
      return status;
    }
    const Letter letter = std::move(queue(from, to).front());
    queue(from, to).pop_front();
    kept_ -= letter.header.total;
    if (letter.header != header) {
      return fail_locked({"group_mismatch", named(from) + " makes another call than this rank"});
    }
    if (header.total > 0) std::memcpy(data, letter.data.data(), header.total);
    return {};
  }

  Status await(uint32_t from, uint32_t to) {
    std::unique_lock lock(mutex_);
    return wait(lock, from, to, Clock::time_point::max());
  }

  void leave(uint32_t rank) {
    const std::lock_guard lock(mutex_);
    left_[rank] = true;
    changed_.notify_all();
  }

  Status fail(Status status) {
    const std::lock_guard lock(mutex_);
    return fail_locked(std::move(status));
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::deque<Letter>& queue(uint32_t from, uint32_t to) { return mail_[from * size_ + to]; }

  static Status lost(uint32_t rank) {
    return {"group_peer_lost", named(rank) + " has left the group"};
  }

  Status fail_locked(Status status) {
    if (failure_.ok()) failure_ = std::move(status);
    changed_.notify_all();
    return failure_;
  }

  /// Waits for a letter; one that was sent before its sender left is still there.
  Status wait(std::unique_lock<std::mutex>& lock, uint32_t from, uint32_t to,
              Clock::time_point until) {
    const auto& letters = queue(from, to);
    const auto over = [&] { return !failure_.ok() || !letters.empty() || left_[from]; };
    if (until == Clock::time_point::max()) {
      changed_.wait(lock, over);
    } else if (!changed_.wait_until(lock, until, over)) {
      return fail_locked({"group_timeout", named(from) + " sends no data"});
    }
    if (!failure_.ok()) return failure_;
    return letters.empty() ? fail_locked(lost(from)) : Status{};
  }

  const uint32_t size_;
  const size_t kept_bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Status failure_;
  size_t kept_ = 0;
  std::vector<bool> left_;
  std::vector<std::deque<Letter>> mail_;  // from * size + to
};

class LocalGroup final : public Group {
 public:
  LocalGroup(std::shared_ptr<Room> room, uint32_t rank) : room_(std::move(room)), rank_(rank) {}
  ~LocalGroup() override { room_->leave(rank_); }

  uint32_t rank() const noexcept override { return rank_; }
  uint32_t size() const noexcept override { return room_->size(); }

  Status all_sum(void* data, size_t count, Element element) noexcept override {
    const size_t bytes = count * bytes_of(element);
    const Header header = header_of(Kind::sum_whole, static_cast<uint32_t>(element), bytes);
    std::vector<std::vector<std::byte>> others(size());
    std::vector<const void*> parts(size(), data);
    if (Status status = put_to_all(header, data); !status.ok()) return status;
    for (uint32_t r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      others[r].resize(bytes);
      parts[r] = others[r].data();
      if (Status status = room_->take(header, others[r].data(), r, rank_); !status.ok()) {
        return status;
      }
    }
    add_in_order(data, parts, count, element);
    return {};
  }

  Status all_gather(const void* mine, void* out,
                    const std::vector<size_t>& bytes) noexcept override {
    if (bytes.size() != size()) {
      return room_->fail({"group_mismatch", "an all_gather needs a size for each rank"});
    }
    if (Status status = put_to_all(header_of(Kind::gather, 0, bytes[rank_]), mine); !status.ok()) {
      return status;
    }
    auto* to = static_cast<std::byte*>(out);
    for (uint32_t r = 0; r < size(); to += bytes[r++]) {
      if (r == rank_) {
        if (bytes[r] > 0 && mine != to) std::memcpy(to, mine, bytes[r]);
        continue;
      }
      const Header header = header_of(Kind::gather, 0, bytes[r]);
      if (Status status = room_->take(header, to, r, rank_); !status.ok()) return status;
    }
    return {};
  }

  Status broadcast(void* data, size_t bytes, uint32_t root) noexcept override {
    if (root >= size()) return room_->fail(no_such_rank(root));
    const Header header = header_of(Kind::broadcast, root, bytes);
    return rank_ == root ? put_to_all(header, data) : room_->take(header, data, root, rank_);
  }

  Status send(const void* data, size_t bytes, uint32_t to) noexcept override {
    if (to >= size() || to == rank_) return room_->fail(no_such_rank(to));
    return room_->put(header_of(Kind::message, 0, bytes), data, rank_, to);
  }

  Status receive(void* data, size_t bytes, uint32_t from) noexcept override {
    if (from >= size() || from == rank_) return room_->fail(no_such_rank(from));
    return room_->take(header_of(Kind::message, 0, bytes), data, from, rank_);
  }

  Status await(uint32_t from) noexcept override {
    if (from >= size() || from == rank_) return room_->fail(no_such_rank(from));
    return room_->await(from, rank_);
  }

  void fail(Status why) noexcept override { static_cast<void>(room_->fail(std::move(why))); }

 private:
  static Header header_of(Kind kind, uint32_t detail, size_t bytes) {
    return {0, tag_of(kind, detail), bytes};
  }

  static Status no_such_rank(uint32_t rank) {
    return {"group_mismatch", named(rank) + " is no other rank"};
  }

  Status put_to_all(const Header& header, const void* data) {
    for (uint32_t r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      if (Status status = room_->put(header, data, rank_, r); !status.ok()) return status;
    }
    return {};
  }

  std::shared_ptr<Room> room_;
  uint32_t rank_;
};

}  // namespace

std::vector<std::unique_ptr<Group>> open_local(uint32_t size, size_t kept_bytes) {
  const auto room = std::make_shared<Room>(size, kept_bytes);
  std::vector<std::unique_ptr<Group>> groups;
  for (uint32_t r = 0; r < size; ++r) groups.push_back(std::make_unique<LocalGroup>(room, r));
  return groups;
}

}  // namespace cidery::group
