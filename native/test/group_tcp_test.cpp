#include <chrono>
#include <cstring>
#include <mutex>

#include "group/crypto.h"
#include "test/check.h"
#include "test/group_cases.h"

/// The group over sockets, its ranks on threads.
namespace cidery::test {
namespace {

using group::GroupOptions;

Groups open_tcp(uint32_t size, GroupOptions options = {}) {
  options.connect_ms = 10'000;
  Doors doors(size, options);
  Groups groups(size);
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < size; ++r) {
    threads.emplace_back([&, r] { groups[r] = doors.connect(r); });
  }
  for (std::thread& thread : threads) thread.join();
  return groups;
}

void check_leaving() {
  Groups groups = open_tcp(2);
  float value = 1;
  check(groups[1]->send(&value, 4, 0).ok(), "the last message");
  groups[1].reset();
  check(groups[0]->receive(&value, 4, 1).ok(), "is read after its sender has left");
  const Status lost = groups[0]->all_sum(&value, 1, group::Element::f32);
  check(lost.code == "group_peer_lost", "one has left: " + lost.code);
}

void check_keys() {
  GroupOptions options;
  options.connect_ms = 600;
  Doors doors(2, options);
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      GroupOptions own = doors.options;
      own.rank = r;
      own.key = group::random_key();
      static std::mutex mutex;
      std::string code;
      try {
        group::connect_tcp(std::move(doors.listeners[r]), own);
      } catch (const Error& error) {
        code = error.code();
      }
      const std::lock_guard lock(mutex);
      check(code == "group_refused", "another key: '" + code + "'");
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  using cidery::group::GroupOptions;
  if (!cidery::group::crypto_available()) {
    std::printf("group_tcp: 0 passed, 0 failed, skipped: libcrypto is not on this machine\n");
    return 0;
  }
  for (const uint32_t size : {1u, 2u, 3u, 4u}) {
    Groups groups = open_tcp(size);
    check_collectives(groups, "tcp", 30, 60'000);
    check_collectives(groups, "tcp, large", 3, 5'000'000);
  }
  check_mismatches([](uint32_t size) { return open_tcp(size); }, "tcp");
  GroupOptions options;
  options.wait_ms = 400;
  check_outbox(open_tcp(2, options), "tcp");
  options.kept_bytes = 1 << 20;
  check_bound(open_tcp(2, options), "tcp");
  check_leaving();
  check_keys();
  return summary("group_tcp");
}
