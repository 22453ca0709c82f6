#include "ring/mlx_group.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>

#include "mlx/loaded_array.h"

namespace cidery::ring {
namespace {

namespace mx = ::mlx::core;
using group::Element;
using group::Group;

/// A flat array with `bytes` of `data` at its begin and zeros behind.
mx::array array_of(const void* data, size_t bytes, size_t count, mx::Dtype dtype) {
  mx::array array = mlx::allocate({static_cast<int>(count)}, dtype);
  auto* to = mlx::bytes(array).data();
  if (bytes > 0) std::memcpy(to, data, bytes);
  std::memset(to + bytes, 0, array.nbytes() - bytes);
  return array;
}

/// The library has no codes: a ring names this one case.
Status status_of(const std::exception& error) {
  const std::string message = error.what();
  const bool lost = message.find("connection to a peer was lost") != std::string::npos;
  return {lost ? "group_peer_lost" : "group_failed", message};
}

class MlxGroup final : public Group {
 public:
  explicit MlxGroup(mx::distributed::Group group) : group_(std::move(group)) {}

  /// The sockets close only once the library forgets the group, too.
  ~MlxGroup() override {
    group_.reset();
    mx::distributed::clear_backends();
  }

  uint32_t rank() const noexcept override { return static_cast<uint32_t>(group_->rank()); }
  uint32_t size() const noexcept override { return static_cast<uint32_t>(group_->size()); }

  Status all_sum(void* data, size_t count, Element element) noexcept override {
    const mx::Dtype dtype = element == Element::f32 ? mx::float32 : mx::bfloat16;
    const size_t bytes = count * mx::size_of(dtype);
    return attempt(count, [&] {
      const mx::array own = array_of(data, bytes, count, dtype);
      mx::array all = mx::distributed::all_sum(own, group_);
      all.eval();
      std::memcpy(data, all.data<std::byte>(), bytes);
    });
  }

  Status all_gather(const void* mine, void* out,
                    const std::vector<size_t>& bytes) noexcept override {
    return bring_together(mine, out, bytes);
  }

  /// The library has no gather for one: messages reach neighbours only.
  Status gather(const void* mine, void* out, const std::vector<size_t>& bytes,
                uint32_t root) noexcept override {
    return bring_together(mine, rank() == root ? out : nullptr, bytes);
  }

  /// From neighbour to neighbour: bytes then go one way, as ours do, and a root that waits for
  /// nobody may tell of a step before it has the last one's result. The library's sum would mix
  /// with that.
  Status broadcast(void* data, size_t bytes, uint32_t root) noexcept override {
    if (root >= size()) return end(no_match("no such rank"));
    const uint32_t right = (rank() + 1) % size(), left = (rank() + size() - 1) % size();
    if (rank() != root) {
      if (Status status = receive(data, bytes, left); !status.ok()) return status;
    }
    return right == root ? Status{} : send(data, bytes, right);
  }

  Status send(const void* data, size_t bytes, uint32_t to) noexcept override {
    if (!is_other(to)) return end(no_match("no other rank"));
    return attempt(bytes, [&] {
      const mx::array own = array_of(data, bytes, bytes, mx::uint8);
      mx::distributed::send(own, static_cast<int>(to), group_).eval();
    });
  }

  Status receive(void* data, size_t bytes, uint32_t from) noexcept override {
    if (!is_other(from)) return end(no_match("no other rank"));
    return attempt(bytes, [&] {
      mx::array got = mx::distributed::recv({static_cast<int>(bytes)}, mx::uint8,
                                            static_cast<int>(from), group_);
      got.eval();
      std::memcpy(data, got.data<std::byte>(), bytes);
    });
  }

  Status await(uint32_t from) noexcept override {
    if (!is_other(from)) return end(no_match("no other rank"));
    return attempt(0, [] {});
  }

  void fail(Status why) noexcept override { static_cast<void>(end(std::move(why))); }

 private:
  static Status no_match(std::string message) { return {"group_mismatch", std::move(message)}; }

  bool is_other(uint32_t rank) const noexcept { return rank < size() && rank != this->rank(); }

  /// `out` may be null. The library gathers parts of one size.
  Status bring_together(const void* mine, void* out, const std::vector<size_t>& bytes) noexcept {
    if (bytes.size() != size()) return end(no_match("a gather needs a size for each rank"));
    const size_t widest = *std::ranges::max_element(bytes);
    return attempt(widest, [&] {
      const mx::array own = array_of(mine, bytes[rank()], widest, mx::uint8);
      mx::array all = mx::distributed::all_gather(own, group_);
      all.eval();
      auto* to = static_cast<std::byte*>(out);
      for (size_t r = 0; r < bytes.size() && to != nullptr; to += bytes[r++]) {
        if (bytes[r] > 0) std::memcpy(to, all.data<std::byte>() + r * widest, bytes[r]);
      }
    });
  }

  Status end(Status why) noexcept {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = std::move(why);
    return failure_;
  }

  /// Makes a call of the library, unless there is nothing in it or an earlier one has failed: after
  /// a failure the library's next call would hang.
  template <class Call>
  Status attempt(size_t count, Call&& call) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (!failure_.ok() || count == 0) return failure_;
    }
    try {
      call();
      return {};
    } catch (const std::exception& error) {
      return end(status_of(error));
    }
  }

  std::optional<mx::distributed::Group> group_;
  std::mutex mutex_;
  Status failure_;
};

}  // namespace

bool mlx_can_group(const std::string& backend) { return mx::distributed::is_available(backend); }

std::unique_ptr<Group> open_mlx_group(const std::string& backend) {
  try {
    return std::make_unique<MlxGroup>(mx::distributed::init(true, backend));
  } catch (const std::exception& error) {
    throw Error("group_connect_failed", error.what());
  }
}

}  // namespace cidery::ring
