#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cidery::cpu {

/// Cores that this process may keep busy: those of its affinity mask, and no more than the CPU
/// quota of its control groups allows. At least 1.
uint32_t allowed_cores();

/// Cores that a `cpu.max` file of cgroup v2 ("QUOTA PERIOD" or "max PERIOD", in microseconds)
/// allows, rounded down, at least 1; nothing where it sets no limit or says something else.
std::optional<uint32_t> quota_cores(std::string_view cpu_max);

}  // namespace cidery::cpu
