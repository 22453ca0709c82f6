#pragma once

#include <algorithm>
#include <cstdint>

namespace cidery::cpu {

/// How `items` are cut into tasks: each takes `together` of them, the last one what is left. A
/// thread may claim `run` tasks at once.
struct Division {
  uint32_t together = 1, tasks = 0, run = 1;
};

/// Tasks a thread: few where each is claimed by itself, many where a run of them is one stream and
/// small ones only serve to end together.
constexpr uint32_t few_tasks = 4, many_tasks = 16;

/// Cuts work whose items take about `nanoseconds` each: tasks, or runs of them, of about 50 us;
/// where that gives too few for the threads, up to `most` a thread, but none below 3 us, which
/// handing it over costs (below a quarter of that where there may be many). Results must not
/// depend on it.
inline Division divide(uint32_t items, uint64_t nanoseconds, uint32_t threads,
                       uint32_t most = few_tasks) noexcept {
  constexpr uint64_t usual = 50'000, handing_over = 3'000;
  if (items == 0) return {1, 0, 1};
  if (threads == 1) return {items, 1, 1};
  const uint64_t item = std::max<uint64_t>(nanoseconds, 1), total = item * items;
  const uint64_t least = total < 2 * handing_over ? total : handing_over * few_tasks / most;
  const uint64_t tasks = std::max({uint64_t{1}, total / usual,
                                   std::min<uint64_t>(uint64_t{threads} * most, total / least)});
  const uint64_t together = (items + std::min<uint64_t>(tasks, items) - 1) /
                            std::min<uint64_t>(tasks, items);
  return {static_cast<uint32_t>(together), static_cast<uint32_t>((items + together - 1) / together),
          static_cast<uint32_t>(std::max<uint64_t>(usual / (item * together), 1))};
}

}  // namespace cidery::cpu
