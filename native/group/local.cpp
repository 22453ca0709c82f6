#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>

#include "group/group.h"
#include "group/sum.h"

/// Groups whose ranks are threads of one process.
namespace cidery::group {
namespace {

using namespace std::chrono_literals;

/// As long as `wait_ms` of a group over sockets: a test that hangs ends.
constexpr auto longest_wait = 120s;

enum class Kind : uint32_t { none, all_sum, all_gather, broadcast };

/// What a rank brings to a call that all make.
struct Call {
  Kind kind = Kind::none;
  uint64_t detail = 0;  // what has to be the same for all ranks, beside the sizes
  std::vector<size_t> sizes;
  const void* in = nullptr;
  bool same_as(const Call& other) const noexcept {
    return kind == other.kind && detail == other.detail && sizes == other.sizes;
  }
};

/// What the ranks share.
class Room {
 public:
  explicit Room(uint32_t size) : calls(size), mail_(size_t{size} * size) {}

  std::vector<Call> calls;  // by rank; read between two meetings only

  /// Says what `rank` is about to do. After a failure nothing is written: others may still read.
  Status enter(uint32_t rank, Call call) {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) calls[rank] = std::move(call);
    return failure_;
  }

  /// Waits until all ranks are here.
  Status meet(uint32_t rank) {
    std::unique_lock lock(mutex_);
    if (!failure_.ok()) return failure_;
    const uint64_t round = round_;
    if (++here_ == calls.size()) {
      here_ = 0;
      ++round_;
      changed_.notify_all();
      return {};
    }
    return wait(lock, rank, [&] { return round_ != round; });
  }

  Status put(const void* data, size_t bytes, uint32_t from, uint32_t to) {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    const auto* begin = static_cast<const std::byte*>(data);
    mail_[from * calls.size() + to].emplace_back(begin, begin + bytes);
    changed_.notify_all();
    return {};
  }

  Status take(void* data, size_t bytes, uint32_t from, uint32_t to) {
    std::unique_lock lock(mutex_);
    auto& queue = mail_[from * calls.size() + to];
    if (Status status = wait(lock, to, [&] { return !queue.empty(); }); !status.ok()) return status;
    if (queue.front().size() != bytes) {
      return fail_locked({"group_mismatch", "rank " + std::to_string(from) + " sent " +
                                                std::to_string(queue.front().size()) +
                                                " bytes, not " + std::to_string(bytes)});
    }
    if (bytes > 0) std::memcpy(data, queue.front().data(), bytes);
    queue.pop_front();
    return {};
  }

  Status fail(Status status) {
    const std::lock_guard lock(mutex_);
    return fail_locked(std::move(status));
  }

 private:
  Status fail_locked(Status status) {
    if (failure_.ok()) failure_ = std::move(status);
    changed_.notify_all();
    return failure_;
  }

  template <class Condition>
  Status wait(std::unique_lock<std::mutex>& lock, uint32_t rank, Condition&& holds) {
    const bool in_time =
        changed_.wait_for(lock, longest_wait, [&] { return !failure_.ok() || holds(); });
    if (in_time && holds()) return {};
    if (!failure_.ok()) return failure_;
    return fail_locked({"group_timeout", "rank " + std::to_string(rank) + " waits in vain"});
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Status failure_;
  uint64_t round_ = 0;
  size_t here_ = 0;
  std::vector<std::deque<std::vector<std::byte>>> mail_;  // from * size + to
};

class LocalGroup final : public Group {
 public:
  LocalGroup(std::shared_ptr<Room> room, uint32_t rank) : room_(std::move(room)), rank_(rank) {}
  ~LocalGroup() override {
    room_->fail({"group_peer_lost", "rank " + std::to_string(rank_) + " has left"});
  }

  uint32_t rank() const noexcept override { return rank_; }
  uint32_t size() const noexcept override { return static_cast<uint32_t>(room_->calls.size()); }

  Status all_sum(void* data, size_t count, Element element) noexcept override {
    const Call call{Kind::all_sum, static_cast<uint64_t>(element), {count}, data};
    std::vector<std::byte> sum(count * bytes_of(element));
    return together(
        call,
        [&] {
          std::vector<const void*> parts;
          for (const Call& other : room_->calls) parts.push_back(other.in);
          add_in_order(sum.data(), parts, count, element);
        },
        [&] {
          if (!sum.empty()) std::memcpy(data, sum.data(), sum.size());
        });
  }

  Status all_gather(const void* mine, void* out,
                    const std::vector<size_t>& bytes) noexcept override {
    if (bytes.size() != size()) {
      return room_->fail({"group_mismatch", "an all_gather needs a size for each rank"});
    }
    return together({Kind::all_gather, 0, bytes, mine},
                    [&] {
                      auto* to = static_cast<std::byte*>(out);
                      for (uint32_t r = 0; r < size(); to += bytes[r++]) {
                        const void* from = room_->calls[r].in;
                        if (bytes[r] > 0 && from != to) std::memcpy(to, from, bytes[r]);
                      }
                    },
                    [] {});
  }

  Status broadcast(void* data, size_t bytes, uint32_t root) noexcept override {
    return together({Kind::broadcast, root, {bytes}, data},
                    [&] {
                      if (rank_ == root || bytes == 0) return;
                      std::memcpy(data, room_->calls[root].in, bytes);
                    },
                    [] {});
  }

  Status send(const void* data, size_t bytes, uint32_t to) noexcept override {
    if (to >= size() || to == rank_) return room_->fail(no_such_rank(to));
    return room_->put(data, bytes, rank_, to);
  }

  Status receive(void* data, size_t bytes, uint32_t from) noexcept override {
    if (from >= size() || from == rank_) return room_->fail(no_such_rank(from));
    return room_->take(data, bytes, from, rank_);
  }

 private:
  static Status no_such_rank(uint32_t rank) {
    return {"group_mismatch", "rank " + std::to_string(rank) + " is no other rank"};
  }

  /// `read` sees every rank's data while none is changed; `write` may change its own.
  template <class Read, class Write>
  Status together(Call call, Read&& read, Write&& write) {
    if (Status status = room_->enter(rank_, std::move(call)); !status.ok()) return status;
    if (Status status = room_->meet(rank_); !status.ok()) return status;
    for (const Call& other : room_->calls) {
      if (!other.same_as(room_->calls[rank_])) {
        return room_->fail({"group_mismatch", "the ranks make different calls"});
      }
    }
    read();
    if (Status status = room_->meet(rank_); !status.ok()) return status;
    write();
    return {};
  }

  std::shared_ptr<Room> room_;
  uint32_t rank_;
};

}  // namespace

std::vector<std::unique_ptr<Group>> open_local(uint32_t size) {
  const auto room = std::make_shared<Room>(size);
  std::vector<std::unique_ptr<Group>> groups;
  for (uint32_t r = 0; r < size; ++r) groups.push_back(std::make_unique<LocalGroup>(room, r));
  return groups;
}

}  // namespace cidery::group
