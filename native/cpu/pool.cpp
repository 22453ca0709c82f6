#include "cpu/pool.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "base/cores.h"
#include "base/error.h"
#include "base/pause.h"
#include "cpu/float_mode.h"

#ifdef __APPLE__
#include <pthread/qos.h>
#endif

namespace cidery::cpu {
namespace {

constexpr uint32_t part_bits = 24, epoch_bits = 16;
constexpr uint64_t part_mask = (uint64_t{1} << part_bits) - 1;
/// About 50 us: longer than the gaps between the calls of a step, shorter than a scheduler's slice.
constexpr uint32_t spin_pauses = 2000;

/// Waits until `word` is no longer `old`, and returns what it is.
uint32_t wait_for_change(const std::atomic<uint32_t>& word, uint32_t old,
                         uint32_t spins) noexcept {
  for (uint32_t i = 0; i < spins; ++i) {
    if (const uint32_t now = word.load(std::memory_order_acquire); now != old) return now;
    pause();
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

}  // namespace

Pool::Pool(uint32_t threads) {
  const uint32_t cores = allowed_cores();
  const uint32_t count = threads == 0 ? cores : threads;
  // A thread that spins takes the core from one that could work where there are more than cores.
  spins_ = count <= cores ? spin_pauses : 0;
  shares_ = std::make_unique<Share[]>(count);
  workers_.reserve(count - 1);
  try {
    for (uint32_t i = 1; i < count; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& error) {
    stop();
    throw Error("engine_failed", std::string("no thread can be started: ") + error.what());
  }
}

Pool::~Pool() { stop(); }

void Pool::stop() noexcept {
  stopping_.store(true, std::memory_order_relaxed);
  calls_.fetch_add(1, std::memory_order_release);
  calls_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(uint32_t count, uint32_t longest, Job job) noexcept {
  if (running_ || count > most_tasks) {
    std::fputs(running_ ? "a task of a pool calls the pool\n" : "too many tasks for a pool\n",
               stderr);
    std::abort();
  }
  if (count == 0) return;
  running_ = true;
  if (workers_.empty() || count == 1) {
    job.call(job.context, 0, count, 0);
  } else {
    job_ = job;
    longest_.store(std::max(longest, 1u), std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    epoch_ = (epoch_ + 1) & ((uint64_t{1} << epoch_bits) - 1);
    for (uint64_t i = 0; i < threads(); ++i) {
      const uint64_t first = count * i / threads(), end = count * (i + 1) / threads();
      shares_[i].tasks.store(epoch_ << (2 * part_bits) | end << part_bits | first,
                             std::memory_order_release);
    }
    calls_.fetch_add(1, std::memory_order_release);
    calls_.notify_all();
    const uint32_t own = run_tasks(0);
    finished_.fetch_add(own, std::memory_order_acq_rel);
    wait_for_end(count);
  }
  running_ = false;
}

/// Claims and runs tasks until none is left. Returns how many.
uint32_t Pool::run_tasks(uint32_t thread) noexcept {
  uint32_t done = 0;
  for (uint32_t i = 0; i < threads(); ++i) {
    const uint32_t from = thread + i;
    Share& share = shares_[from < threads() ? from : from - threads()];
    while (const uint32_t some = run_some(thread, share)) done += some;
  }
  return done;
}

/// Claims and runs tasks: three quarters of what is left of the thread's own share, so that what
/// follows can still even out, or a thread's part of what another has left, from its end. Returns
/// how many that were.
uint32_t Pool::run_some(uint32_t thread, Share& share) noexcept {
  const bool own = &share == &shares_[thread];
  uint64_t word = share.tasks.load(std::memory_order_acquire);
  for (;;) {
    const uint64_t next = word & part_mask, end = word >> part_bits & part_mask;
    if (next >= end) return 0;
    const uint64_t fair = own ? (end - next) * 3 / 4 : (end - next) / threads();
    const uint64_t count = std::clamp<uint64_t>(fair, 1, longest_.load(std::memory_order_relaxed));
    const uint64_t claimed = own ? word + count : word - (count << part_bits);
    if (!share.tasks.compare_exchange_weak(word, claimed, std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
      continue;
    }
    job_.call(job_.context, static_cast<uint32_t>(own ? next : end - count),
              static_cast<uint32_t>(count), thread);
    return static_cast<uint32_t>(count);
  }
}

void Pool::wait_for_end(uint32_t count) noexcept {
  uint32_t finished = finished_.load(std::memory_order_acquire);
  while (finished != count) finished = wait_for_change(finished_, finished, spins_);
}

void Pool::work(uint32_t thread) noexcept {
#ifdef __APPLE__
  // Else the system may move it to the slow cores.
  ::pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0);
#endif
  set_float_mode();
  uint32_t calls = 0;
  for (;;) {
    calls = wait_for_change(calls_, calls, spins_);
    if (stopping_.load(std::memory_order_relaxed)) return;
    // All of one call: it cannot end before what is claimed here is counted.
    const uint32_t done = run_tasks(thread);
    if (done == 0) continue;
    finished_.fetch_add(done, std::memory_order_acq_rel);
    finished_.notify_one();
  }
}

}  // namespace cidery::cpu
