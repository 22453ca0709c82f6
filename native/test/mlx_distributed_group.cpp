#include "test/mlx_distributed_group.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>

#include "mlx/loaded_array.h"

namespace cidery::test {
namespace {

namespace mx = ::mlx::core;
using group::Element;
using group::Group;

/// A flat array with `bytes` of `data` at its begin and zeros behind; no data: zeros alone.
mx::array array_of(const void* data, size_t bytes, size_t count, mx::Dtype dtype) {
  mx::array array = mlx::allocate({static_cast<int>(count)}, dtype);
  auto* to = mlx::bytes(array).data();
  const size_t given = data == nullptr ? 0 : bytes;
  if (given > 0) std::memcpy(to, data, given);
  std::memset(to + given, 0, array.nbytes() - given);
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
    return attempt(count, [&] { sum(data, count * mx::size_of(dtype), count, dtype, true); });
  }

  Status all_gather(const void* mine, void* out,
                    const std::vector<size_t>& bytes) noexcept override {
    if (bytes.size() != size()) return end(no_match("an all_gather needs a size for each rank"));
    const size_t widest = *std::ranges::max_element(bytes);
    // The library gathers parts of one size.
    return attempt(widest, [&] {
      const mx::array own = array_of(mine, bytes[rank()], widest, mx::uint8);
      mx::array all = mx::distributed::all_gather(own, group_);
      all.eval();
      auto* to = static_cast<std::byte*>(out);
      for (size_t r = 0; r < bytes.size(); to += bytes[r++]) {
        if (bytes[r] > 0) std::memcpy(to, all.data<std::byte>() + r * widest, bytes[r]);
      }
    });
  }

  /// A sum to which only the root brings anything.
  Status broadcast(void* data, size_t bytes, uint32_t root) noexcept override {
    if (root >= size()) return end(no_match("no such rank"));
    return attempt(bytes, [&] { sum(data, bytes, bytes, mx::uint8, rank() == root); });
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

  void sum(void* data, size_t bytes, size_t count, mx::Dtype dtype, bool brings_data) {
    const mx::array own = array_of(brings_data ? data : nullptr, bytes, count, dtype);
    mx::array all = mx::distributed::all_sum(own, group_);
    all.eval();
    std::memcpy(data, all.data<std::byte>(), bytes);
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

RingHosts::RingHosts(const std::vector<group::Address>& addresses)
    : path_(std::filesystem::temp_directory_path() /
            ("cidery-ring-" + std::to_string(::getpid()) + ".json")) {
  std::string text;
  for (const group::Address& address : addresses) {
    const std::string where = address.host + ":" + std::to_string(address.port);
    text += (text.empty() ? "[\"" : ",[\"") + where + "\"]";
  }
  std::ofstream(path_) << "[" << text << "]";
}

RingHosts::~RingHosts() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void RingHosts::set_environment(uint32_t rank) const {
  ::setenv("MLX_RANK", std::to_string(rank).c_str(), 1);
  ::setenv("MLX_HOSTFILE", path_.c_str(), 1);
}

}  // namespace cidery::test
