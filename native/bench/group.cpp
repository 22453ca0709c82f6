// The group over sockets between two processes: small sums polled back to back, 60 sums of 2 KB a
// step between calls of the real pool, large sums, and AES-GCM alone, which bounds them.
// group [--threads N] [--rounds N] [--work-us N] [--only small|step|large] [--ring 1]
// With `--ring 1` the same between ranks of MLX's ring; compile with CIDERY_WITH_MLX for that.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/pool.h"
#include "group/crypto.h"
#include "group/group.h"
#ifdef CIDERY_WITH_MLX
#include "ring/ring_group.h"
#endif

namespace cidery::bench {
namespace {

using Clock = std::chrono::steady_clock;
using group::Element;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void print(const char* name, std::vector<double> seconds) {
  std::ranges::sort(seconds);
  const auto at = [&](double part) {
    return 1e6 * seconds[static_cast<size_t>(part * static_cast<double>(seconds.size() - 1))];
  };
  std::printf("%-34s p50 %9.1f us  p95 %9.1f us  p99 %9.1f us\n", name, at(0.5), at(0.95),
              at(0.99));
}

void seal_alone() {
  std::vector<std::byte> text(64 << 10), sealed(text.size() + group::tag_bytes);
  const std::array<std::byte, 16> header{};
  for (const size_t size : {size_t{2048}, text.size()}) {
    group::Cipher sealing({}, true), opening({}, false);
    const size_t times = (256 << 20) / size;
    const auto start = Clock::now();
    for (size_t i = 0; i < times; ++i) {
      sealing.seal(header, std::span(text).first(size), sealed.data());
      opening.open(header, std::span(sealed).first(size + group::tag_bytes), text.data());
    }
    std::printf("AES-128-GCM, %6zu bytes: %.2f GB/s sealed and opened, each\n", size,
                1e-9 * static_cast<double>(2 * times * size) / since(start));
  }
}

struct Options {
  uint32_t threads = 1, rounds = 50, work_us = 40;
  bool small = true, step = true, large = true, ring = false;
};

void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", status.code.c_str(), status.message.c_str());
  ::_exit(1);
}

double sum(group::Group& group, std::vector<float>& data) {
  const auto start = Clock::now();
  must(group.all_sum(data.data(), data.size(), Element::f32));
  return since(start);
}

void small_sums(group::Group& group, const Options& options) {
  std::vector<float> data(512);
  std::vector<double> times;
  for (uint32_t i = 0; i < options.rounds * 200; ++i) times.push_back(sum(group, data));
  if (group.rank() == 0) print("2 KB, back to back", times);
}

/// 60 times work on the pool, then a sum.
void steps(group::Group& group, const Options& options) {
  cpu::Pool pool(options.threads);
  const double task = 0.25e-6 * options.work_us;
  std::vector<float> data(512);
  std::vector<double> times, whole;
  for (uint32_t step = 0; step < options.rounds; ++step) {
    const auto begin = Clock::now();
    for (int i = 0; i < 60; ++i) {
      pool.parallel_for(4 * options.threads, [&](uint32_t, uint32_t) noexcept {
        const auto start = Clock::now();
        while (since(start) < task) {
        }
      });
      times.push_back(sum(group, data));
    }
    whole.push_back(since(begin));
  }
  if (group.rank() != 0) return;
  print("2 KB, in a step with the pool", times);
  print(("step: 60 calls of " + std::to_string(options.work_us) + " us and sums").c_str(), whole);
}

void large_sums(group::Group& group, const Options& options) {
  std::vector<float> data(2 << 20);
  std::vector<double> times;
  for (uint32_t i = 0; i < std::max(7u, options.rounds / 2); ++i) times.push_back(sum(group, data));
  if (group.rank() != 0) return;
  print("8 MB", times);
  std::ranges::sort(times);
  std::printf("8 MB: %.2f GB/s\n", 8.388608e-3 / times[times.size() / 2]);
}

/// What both ranks do; rank 0 prints.
void run(group::Group& group, const Options& options) {
  if (options.small) small_sums(group, options);
  if (options.step) steps(group, options);
  if (options.large) large_sums(group, options);
}

using Open = std::function<std::unique_ptr<group::Group>(uint32_t rank)>;

int run_ranks(const Open& open, const Options& what) {
  const pid_t child = ::fork();
  auto group = open(child == 0 ? 1 : 0);
  run(*group, what);
  // In order: the other rank may still be reading what this one has sent last.
  group.reset();
  if (child == 0) ::_exit(0);
  int how = 0;
  ::waitpid(child, &how, 0);
  return how == 0 ? 0 : 1;
}

int run_backend(const Options& what) {
  group::GroupOptions options;
  options.key = group::random_key();
  std::vector<std::unique_ptr<group::Listener>> listeners;
  for (uint32_t r = 0; r < 2; ++r) {
    listeners.push_back(group::listen("127.0.0.1"));
    options.addresses.push_back({"127.0.0.1", listeners.back()->port()});
  }
  const auto open = [&](uint32_t rank) {
    options.rank = rank;
#ifdef CIDERY_WITH_MLX
    // The ring has no time limits.
    if (what.ring) ::alarm(120);
    if (what.ring) return ring::connect_ring(std::move(listeners[rank]), options);
#endif
    return group::connect_tcp(std::move(listeners[rank]), options);
  };
  return run_ranks(open, what);
}

}  // namespace
}  // namespace cidery::bench

int main(int count, char** arguments) {
  cidery::bench::Options what;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view option = arguments[i], text = arguments[i + 1];
    const auto value = static_cast<uint32_t>(std::strtoul(arguments[i + 1], nullptr, 10));
    if (option == "--threads") what.threads = std::max(1u, value);
    if (option == "--rounds") what.rounds = std::max(1u, value);
    if (option == "--work-us") what.work_us = value;
    if (option == "--ring") what.ring = value != 0;
    if (option != "--only") continue;
    what.small = text == "small";
    what.step = text == "step";
    what.large = text == "large";
  }
#ifndef CIDERY_WITH_MLX
  if (what.ring) {
    std::fprintf(stderr, "compiled without MLX\n");
    return 1;
  }
#endif
  if (what.small && what.large && !what.ring) cidery::bench::seal_alone();
  return cidery::bench::run_backend(what);
}
