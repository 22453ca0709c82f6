#include "cpu/pool.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <thread>

#include "base/cores.h"
#include "test/check.h"

/// The thread pool: every task once, whatever the threads do.
namespace cidery::test {
namespace {

using cpu::Pool;

/// Adds up 1 for each task, with plain memory: a race or a task that runs twice shows.
void run_calls(Pool& pool, const std::string& name, uint32_t calls) {
  std::vector<uint32_t> runs;
  auto busy = std::make_unique<std::atomic<int>[]>(pool.threads());
  std::atomic<uint32_t> wrong{0};
  for (uint32_t call = 0; call < calls; ++call) {
    const uint32_t count = call * 7 % 40;
    runs.assign(count, 0);
    pool.parallel_for(count, [&](uint32_t index, uint32_t thread) noexcept {
      if (thread >= pool.threads() || busy[thread].fetch_add(1) != 0) wrong.fetch_add(1);
      ++runs[index];
      busy[thread].fetch_sub(1);
    });
    for (const uint32_t times : runs) {
      if (times != 1) wrong.fetch_add(1);
    }
  }
  check(wrong.load() == 0, name + ": every task runs once, on a thread of its own");
}

void check_calls() {
  for (const uint32_t threads : {1u, 2u, 3u, 5u, 9u}) {
    Pool pool(threads);
    check(pool.threads() == threads, "as many threads as asked for");
    run_calls(pool, std::to_string(threads) + " threads", 3000);
  }
  check(Pool(0).threads() == allowed_cores(), "one thread a core");
}

/// Runs cover every task once too, and each holds one at least.
void check_runs() {
  for (const uint32_t threads : {1u, 2u, 5u}) {
    Pool pool(threads);
    std::vector<uint32_t> times;
    std::atomic<uint32_t> wrong{0};
    for (uint32_t call = 0; call < 2000; ++call) {
      const uint32_t tasks = call % 67, longest = call % 9;
      times.assign(tasks, 0);
      pool.parallel_runs(tasks, longest, [&](uint32_t first, uint32_t count, uint32_t) noexcept {
        if (count == 0 || first + count > tasks) return void(wrong.fetch_add(1));
        for (uint32_t i = 0; i < count; ++i) ++times[first + i];
      });
      for (const uint32_t runs : times) wrong.fetch_add(runs != 1);
    }
    check(wrong.load() == 0, std::to_string(threads) + " threads: runs cover every task once");
  }
}

/// A call waits for its tasks, not for threads: it ends although some workers never get a core of
/// their own and although they sleep between calls.
void check_neighbour() {
  std::atomic<bool> stop{false};
  std::vector<std::thread> neighbours;
  for (uint32_t i = 0; i < allowed_cores(); ++i) {
    neighbours.emplace_back([&stop] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  }
  {
    Pool pool(2);
    run_calls(pool, "beside busy threads", 300);
    ::usleep(20'000);
    run_calls(pool, "after a pause", 20);
  }
  stop.store(true);
  for (std::thread& neighbour : neighbours) neighbour.join();
}

/// A task's writes are read by tasks of the next call, on whatever thread.
void check_visibility() {
  Pool pool(3);
  std::vector<uint64_t> values(64, 1), next(64);
  for (uint32_t call = 0; call < 2000; ++call) {
    pool.parallel_for(64, [&](uint32_t index, uint32_t) noexcept {
      next[index] = values[(index + 1) % 64] + 1;
    });
    std::swap(values, next);
  }
  bool all = true;
  for (const uint64_t value : values) all = all && value == 2001;
  check(all, "a call sees what the last one wrote");
}

void check_nesting() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    Pool pool(1);
    pool.parallel_for(2, [&](uint32_t, uint32_t) noexcept {
      pool.parallel_for(1, [](uint32_t, uint32_t) noexcept {});
    });
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "a task that calls the pool ends all");
}

void check_quotas() {
  check(quota_cores("200000 100000") == 2u, "two cores");
  check(quota_cores("250000 100000") == 2u, "rounded down");
  check(quota_cores("50000 100000") == 1u, "at least one");
  for (const char* text : {"max 100000", "", "-1 100000", "100000", "100000 ", "100000 0", "a b"}) {
    check(!quota_cores(text).has_value(), std::string("no limit: '") + text + "'");
  }
  check(allowed_cores() >= 1, "there is a core");
}

void check_shares() {
  const uint32_t cores = allowed_cores();
  std::thread([cores] {
    check(!keep_to_share(0, cores + 1), "no core for each");
    check(allowed_cores() == cores, "nothing is changed");
  }).join();
#ifdef __linux__
  cpu_set_t before, all;
  ::sched_getaffinity(0, sizeof before, &before);
  CPU_ZERO(&all);
  for (uint32_t i = 0; i < cores; ++i) {
    cpu_set_t share;
    std::thread([i, cores, &share] {
      check(keep_to_share(i, cores), "a core for each");
      ::sched_getaffinity(0, sizeof share, &share);
    }).join();
    cpu_set_t both;
    CPU_AND(&both, &all, &share);
    check(CPU_COUNT(&share) >= 1 && CPU_COUNT(&both) == 0, "of its own");
    CPU_OR(&all, &all, &share);
  }
  check(CPU_EQUAL(&all, &before), "all cores are in use");
#endif
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  check_nesting();
  check_quotas();
  check_shares();
  check_calls();
  check_runs();
  check_neighbour();
  check_visibility();
  return summary("pool");
}
