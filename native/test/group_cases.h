#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "group/group.h"

/// What every backend of the group has to do, against a scalar reference.
namespace cidery::test {

using Groups = std::vector<std::unique_ptr<group::Group>>;

/// Ranks that listen on loopback: a door each, and the options that lead there, with a fresh key.
struct Doors {
  std::vector<std::unique_ptr<group::Listener>> listeners;
  group::GroupOptions options;

  Doors(uint32_t size, group::GroupOptions with);
  /// Goes through rank `rank`'s door. Throws what connect_tcp throws.
  std::unique_ptr<group::Group> connect(uint32_t rank);
};

/// Runs `work(rank, group)` on a thread a rank and waits for all.
inline void on_every_rank(Groups& groups,
                          const std::function<void(uint32_t, group::Group&)>& work) {
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < groups.size(); ++r) {
    threads.emplace_back([&, r] { work(r, *groups[r]); });
  }
  for (std::thread& thread : threads) thread.join();
}

/// The part of rank `rank` in a sum: values of any exponent, so that every order has its own bits.
std::vector<std::byte> part_of_sum(uint32_t rank, size_t count, group::Element element,
                                   uint32_t seed);
/// The sum of the parts of `ranks` ranks, one element at a time.
std::vector<std::byte> sum_of_parts(uint32_t ranks, size_t count, group::Element element,
                                    uint32_t seed);

/// How the backend adds: as ours do, so that bits are equal, or in any order and with a rounding to
/// the element's type after each addition.
enum class Adding { in_rank_order, in_any_order };

/// Whether `sum` is one of the parts of `ranks` ranks.
bool is_sum(const std::vector<std::byte>& sum, uint32_t ranks, group::Element element,
            uint32_t seed, Adding adding);

/// One rank's calls of random sizes, the same choices on every rank; how many went wrong.
uint32_t make_calls(group::Group& group, uint32_t rounds, size_t most_bytes, Adding adding);

/// The calls of all ranks, on threads: `name` says in failures which backend it is.
void check_collectives(Groups& groups, const std::string& name, uint32_t rounds, size_t most_bytes);

/// Messages that nobody has asked for yet, and waiting without a call: `groups` are two, whose
/// `wait_ms` is short.
void check_outbox(Groups groups, const std::string& name);

/// Two groups that keep few bytes: who takes nothing ends them.
void check_bound(Groups groups, const std::string& name);

/// Two groups, of which another thread than the one that calls ends one.
void check_fail(Groups groups, const std::string& name);

/// Ranks that make different calls: `open` gives groups of that size.
void check_mismatches(const std::function<Groups(uint32_t)>& open, const std::string& name);

}  // namespace cidery::test
