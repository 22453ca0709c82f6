#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

#include "group/crypto.h"
#include "test/check.h"
#include "test/group_cases.h"

/// What this thread has asked of the heap.
static thread_local size_t allocations = 0;

void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

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

/// Once the first of its size is through, a call asks nothing of the heap.
void check_heap() {
  Groups groups = open_tcp(3);
  std::atomic<size_t> asked{0}, wrong{0};
  on_every_rank(groups, [&](uint32_t rank, group::Group& group) {
    std::vector<float> small(512), large(300'000), gathered(3 * 512);
    const std::vector<size_t> widths(3, 512 * sizeof(float));
    const auto round = [&] {
      bool well = group.all_sum(small.data(), small.size(), group::Element::f32).ok();
      well = group.all_sum(large.data(), large.size(), group::Element::bf16).ok() && well;
      well = group.all_gather(small.data(), gathered.data(), widths).ok() && well;
      well = group.broadcast(small.data(), 2048, 1).ok() && well;
      well = group.send(small.data(), 2048, (rank + 1) % 3).ok() && well;
      well = group.receive(small.data(), 2048, (rank + 2) % 3).ok() && well;
      if (!well) wrong.fetch_add(1);
    };
    round();
    const size_t before = allocations;
    for (int i = 0; i < 50; ++i) round();
    asked.fetch_add(allocations - before);
  });
  check(wrong.load() == 0 && asked.load() == 0,
        "asked of the heap: " + std::to_string(asked.load()) + " times");
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
  check_fail(open_tcp(2), "tcp");
  check_mismatches([](uint32_t size) { return open_tcp(size); }, "tcp");
  GroupOptions options;
  options.wait_ms = 3'000;
  check_outbox(open_tcp(2, options), "tcp");
  options.kept_bytes = 1 << 20;
  check_bound(open_tcp(2, options), "tcp");
  check_heap();
  check_leaving();
  check_keys();
  return summary("group_tcp");
}
