#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "group/crypto.h"
#include "ring/mlx_group.h"
#include "ring/ring_group.h"
#include "test/check.h"
#include "test/group_cases.h"

/// MLX's ring does what the cases ask for, and the group over sockets says the same as the ring.
/// Each rank is a process, because the library has one group in each.
namespace cidery::test {
namespace {

using group::Element;
using group::Group;
using Bytes = std::vector<std::byte>;

/// The ring has no time limits: a rank that takes longer than this is ended by the system.
constexpr unsigned patience_s = 60;

using Connect = std::function<std::unique_ptr<Group>()>;

/// Does `work(rank, connect)` in a process a rank, each of which can only fail or end in time;
/// `connect` joins it to the ring.
template <class Work>
void in_processes(uint32_t size, const std::string& name, Work&& work) {
  Doors doors(size, {});
  std::fflush(nullptr);
  std::vector<pid_t> children;
  for (uint32_t r = 0; r < size; ++r) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::alarm(patience_s);
    // The ring writes to ends that are closed.
    std::signal(SIGPIPE, SIG_IGN);
    doors.options.rank = r;
    tally = {};
    try {
      work(r, [&] { return ring::connect_ring(std::move(doors.listeners[r]), doors.options); });
    } catch (const std::exception& error) {
      check(false, name + ": " + error.what());
    }
    std::fflush(nullptr);
    ::_exit(tally.failed == 0 && tally.passed > 0 ? 0 : 1);
  }
  for (uint32_t r = 0; r < size; ++r) {
    int how = 0;
    const bool ended = children[r] > 0 && ::waitpid(children[r], &how, 0) == children[r];
    const bool late = ended && WIFSIGNALED(how) && WTERMSIG(how) == SIGALRM;
    check(ended && how == 0, name + ": rank " + std::to_string(r) + " of " + std::to_string(size) +
                                 (late ? " was not done in time" : " failed"));
  }
}

Bytes part_of(uint32_t rank, size_t bytes) { return part_of_sum(rank, bytes / 4, Element::f32, 5); }

/// Around the ring, the first rank first: it sends as long as its neighbour does not receive.
Bytes pass_on(Group& group, size_t bytes) {
  const uint32_t rank = group.rank(), size = group.size();
  const Bytes own = part_of(rank, bytes);
  Bytes got(own.size());
  const auto send = [&] { return group.send(own.data(), own.size(), (rank + 1) % size).ok(); };
  const bool first = rank != 0 || send();
  const bool received = group.receive(got.data(), got.size(), (rank + size - 1) % size).ok();
  check(first && received && (rank == 0 || send()), "passed on");
  return got;
}

Bytes sum(Group& group, size_t count, Element element) {
  Bytes data = part_of_sum(group.rank(), count, element, 9);
  check(group.all_sum(data.data(), count, element).ok(), "summed");
  return data;
}

Bytes gather(Group& group, size_t bytes) {
  std::vector<size_t> sizes;
  size_t all = 0;
  for (uint32_t r = 0; r < group.size(); ++r) {
    sizes.push_back(bytes / (r + 1) / 4 * 4);
    all += sizes.back();
  }
  const Bytes own = part_of(group.rank(), sizes[group.rank()]);
  Bytes out(all);
  check(group.all_gather(own.data(), out.data(), sizes).ok(), "gathered");
  return out;
}

Bytes tell(Group& group, size_t bytes) {
  const uint32_t root = group.size() - 1;
  Bytes data = part_of(group.rank(), bytes);
  check(group.broadcast(data.data(), data.size(), root).ok(), "told");
  return data;
}

/// What a rank has after calls that add nothing.
std::vector<Bytes> moves(Group& group, size_t bytes) {
  std::vector<Bytes> all{gather(group, bytes), tell(group, bytes), pass_on(group, bytes)};
  // Ours keeps what the sockets do not take until a call that waits: not one of the other group.
  float one = 1;
  check(group.all_sum(&one, 1, Element::f32).ok(), "everything is taken");
  return all;
}

/// From one element to more than the ring has in one packet.
void compare(Group& ring, Group& tcp) {
  for (const size_t count : {size_t{1}, size_t{512}, size_t{100'003}, size_t{2'200'000}}) {
    const std::string what = "tcp and ring, " + std::to_string(count) + " elements: ";
    for (const Element element : {Element::f32, Element::bf16}) {
      const Bytes theirs = sum(ring, count, element), ours = sum(tcp, count, element);
      check(is_sum(theirs, ring.size(), element, 9, Adding::in_any_order), what + "their sum");
      check(is_sum(ours, ring.size(), element, 9, Adding::in_rank_order), what + "our sum");
      check(ring.size() > 2 || theirs == ours, what + "two add to the same");
    }
    check(moves(ring, 4 * count) == moves(tcp, 4 * count), what + "gathers, broadcasts, sends");
  }
}

void check_ring(uint32_t size) {
  Doors doors(size, {});
  in_processes(size, "ring", [&](uint32_t rank, const Connect& connect) {
    const auto ring = connect();
    check(ring->rank() == rank && ring->size() == size, "the ring's rank");
    const uint32_t wrong = make_calls(*ring, 10, 60'000, Adding::in_any_order);
    check(wrong == 0, "ring: " + std::to_string(wrong) + " calls went wrong");
    check(ring->await((rank + 1) % size).ok(), "await does not wait");
    compare(*ring, *doors.connect(rank));
  });
}

void check_lost_peer() {
  in_processes(2, "a peer leaves", [](uint32_t rank, const Connect& connect) {
    const auto ring = connect();
    float value = 1;
    check(ring->all_sum(&value, 1, Element::f32).ok() && value == 2, "while both are there");
    if (rank == 1) return;
    const Status lost = ring->all_sum(&value, 1, Element::f32);
    check(lost.code == "group_peer_lost", "then: " + lost.code + " " + lost.message);
    // The library would wait for ever.
    check(ring->receive(&value, 4, 1).code == lost.code, "and from then on");
  });
}

void check_own_failures() {
  in_processes(2, "failures of its own", [](uint32_t rank, const Connect& connect) {
    const auto ring = connect();
    float value = 1;
    check(ring->all_sum(&value, 1, Element::f32).ok(), "at first");
    ring->fail({"rank_disagrees", "it has other activations"});
    check(ring->send(&value, 4, rank).code == "rank_disagrees", "what ends it stays");
  });
  in_processes(1, "no environment", [](uint32_t, const Connect&) {
    check_throws("group_connect_failed", "nobody says where",
                 [] { ring::open_mlx_group("ring"); });
  });
}

/// Whose addresses others could reach, nobody joins.
void check_loopback_alone() {
  for (const char* host : {"192.0.2.1", "0.0.0.0", "::1", "localhost", "127.0.0.1.example"}) {
    group::GroupOptions options;
    options.addresses = {{"127.0.0.1", 1}, {host, 2}};
    check_throws("group_unavailable", std::string("not on ") + host,
                 [&] { ring::connect_ring(group::listen("127.0.0.1"), options); });
  }
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  if (!cidery::ring::mlx_can_group("ring") || !cidery::group::crypto_available()) {
    std::printf("mlx_group: 0 passed, 0 failed, skipped: no ring in this MLX, or no libcrypto\n");
    return 0;
  }
  for (const uint32_t size : {2u, 3u, 4u}) check_ring(size);
  check_loopback_alone();
  check_lost_peer();
  check_own_failures();
  return summary("mlx_group");
}
