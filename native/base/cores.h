#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cidery {

/// Cores that this process may keep busy: those of its affinity mask, and no more than the CPU
/// quota of its control groups allows. At least 1.
uint32_t allowed_cores();

/// Cores that a `cpu.max` file of cgroup v2 ("QUOTA PERIOD" or "max PERIOD", in microseconds)
/// allows, rounded down, at least 1; nothing where it sets no limit or says something else.
std::optional<uint32_t> quota_cores(std::string_view cpu_max);

/// Keeps the calling thread, and those that it starts later, to its share of the cores: part
/// `index` of `parts`, each of which gets whole ones. False, and nothing is changed, where there are
/// fewer cores than parts. A system that cannot do that places threads as it likes.
bool keep_to_share(uint32_t index, uint32_t parts) noexcept;

}  // namespace cidery
