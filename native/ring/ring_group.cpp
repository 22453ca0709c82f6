#include "ring/ring_group.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ring/mlx_group.h"

namespace cidery::ring {
namespace {

using group::Address;
using group::Group;
using group::GroupOptions;

/// The file in which the library looks where the ranks of a ring listen, as long as this lives.
class HostFile {
 public:
  explicit HostFile(const std::vector<Address>& addresses)
      : path_(std::filesystem::temp_directory_path() /
              ("cidery-ring-" + std::to_string(::getpid()) + ".json")) {
    std::string text;
    for (const Address& address : addresses) {
      const std::string where = address.host + ":" + std::to_string(address.port);
      text += (text.empty() ? "[\"" : ",[\"") + where + "\"]";
    }
    std::ofstream(path_) << "[" << text << "]";
  }
  ~HostFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  HostFile(const HostFile&) = delete;
  HostFile& operator=(const HostFile&) = delete;

  const char* path() const { return path_.c_str(); }

 private:
  const std::filesystem::path path_;
};

void refuse_others(const std::vector<Address>& addresses) {
  for (const auto& [host, port] : addresses) {
    const bool numeric = host.find_first_not_of("0123456789.") == std::string::npos;
    if (numeric && host.starts_with("127.")) continue;
    throw Error("group_unavailable", "MLX's ring is neither sealed nor does anybody prove who he "
                                     "is: it runs on 127.0.0.1 alone, not on " + host);
  }
}

void must(const Status& status) {
  if (!status.ok()) throw Error("group_connect_failed", status.message);
}

/// A port for each rank that was free just now and at which nobody listens any more: a rank that is
/// early would take another's listener for the ring.
std::vector<Address> agree_on_ports(Group& group, const GroupOptions& options) {
  const std::string& own = options.addresses[options.rank].host;
  std::vector<uint16_t> ports(group.size());
  {
    const auto reserved = group::listen(own);
    ports[group.rank()] = reserved->port();
    const std::vector<size_t> sizes(group.size(), sizeof(uint16_t));
    must(group.all_gather(&ports[group.rank()], ports.data(), sizes));
  }
  float closed = 1;
  must(group.all_sum(&closed, 1, group::Element::f32));
  std::vector<Address> addresses;
  for (const uint16_t port : ports) addresses.push_back({own, port});
  return addresses;
}

}  // namespace

std::unique_ptr<Group> connect_ring(std::unique_ptr<group::Listener> listener,
                                    const GroupOptions& options) {
  refuse_others(options.addresses);
  GroupOptions meeting = options;
  // As the library has it.
  meeting.own_cores = false;
  const std::unique_ptr<Group> met = group::connect_tcp(std::move(listener), meeting);
  const HostFile hosts(agree_on_ports(*met, options));
  ::setenv("MLX_HOSTFILE", hosts.path(), 1);
  ::setenv("MLX_RANK", std::to_string(options.rank).c_str(), 1);
  std::unique_ptr<Group> ring = open_mlx_group("ring");
  ::unsetenv("MLX_HOSTFILE");
  ::unsetenv("MLX_RANK");
  return ring;
}

}  // namespace cidery::ring
