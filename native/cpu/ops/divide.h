#pragma once

#include <algorithm>
#include <cstdint>

namespace cidery::cpu {

/// How `items` are cut into tasks: each takes `together` of them, the last one what is left.
struct Division {
  uint32_t together = 1, tasks = 0;
};

/// Cuts work whose items take about `nanoseconds` each: tasks of about 50 us; where that gives too
/// few for the threads, up to four a thread, but none below 3 us, which handing it over costs.
/// Results must not depend on it.
inline Division divide(uint32_t items, uint64_t nanoseconds, uint32_t threads) noexcept {
  constexpr uint64_t usual = 50'000, least = 3'000;
  if (items == 0) return {1, 0};
  if (threads == 1) return {items, 1};
  const uint64_t total = std::max<uint64_t>(nanoseconds, 1) * items;
  const uint64_t tasks = std::max({uint64_t{1}, total / usual,
                                   std::min<uint64_t>(uint64_t{threads} * 4, total / least)});
  const uint64_t together = (items + std::min<uint64_t>(tasks, items) - 1) /
                            std::min<uint64_t>(tasks, items);
  return {static_cast<uint32_t>(together),
          static_cast<uint32_t>((items + together - 1) / together)};
}

}  // namespace cidery::cpu
