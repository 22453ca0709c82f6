#include "base/cores.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

namespace cidery {
namespace {

uint32_t affinity_cores() {
#ifdef __linux__
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<uint32_t>(CPU_COUNT(&set));
#endif
  return std::thread::hardware_concurrency();
}

std::optional<std::string> first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

/// The tightest limit of the process's group and those above it: v2's tree, then v1's.
std::optional<uint32_t> group_cores() {
  std::optional<uint32_t> fewest;
  const auto apply = [&fewest](std::optional<uint32_t> cores) {
    if (cores) fewest = std::min(fewest.value_or(*cores), *cores);
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    std::string path = line.substr(second + 1);
    for (;;) {
      const std::string folder =
          unified ? "/sys/fs/cgroup" + path : "/sys/fs/cgroup/" + controllers + path;
      if (unified) {
        if (const auto text = first_line(folder + "/cpu.max")) apply(quota_cores(*text));
      } else {
        const auto quota = first_line(folder + "/cpu.cfs_quota_us");
        const auto period = first_line(folder + "/cpu.cfs_period_us");
        if (quota && period) apply(quota_cores(*quota + " " + *period));
      }
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/'));
    }
  }
  return fewest;
}

}  // namespace

std::optional<uint32_t> quota_cores(std::string_view cpu_max) {
  int64_t quota = 0, period = 0;
  const char* end = cpu_max.data() + cpu_max.size();
  const auto [space, bad_quota] = std::from_chars(cpu_max.data(), end, quota);
  if (bad_quota != std::errc{} || space == end || *space != ' ') return std::nullopt;
  const auto [rest, bad_period] = std::from_chars(space + 1, end, period);
  if (bad_period != std::errc{} || rest == space + 1 || quota <= 0 || period <= 0) {
    return std::nullopt;
  }
  return static_cast<uint32_t>(std::clamp<int64_t>(quota / period, 1, 1 << 16));
}

uint32_t allowed_cores() {
  const uint32_t cores = std::max<uint32_t>(1, affinity_cores());
  return std::min(cores, group_cores().value_or(cores));
}

bool keep_to_share(uint32_t index, uint32_t parts) noexcept {
  const uint32_t cores = allowed_cores();
  if (cores < parts) return false;
#ifdef __linux__
  cpu_set_t all, share;
  CPU_ZERO(&share);
  if (::sched_getaffinity(0, sizeof all, &all) != 0) return true;
  const auto count = static_cast<uint32_t>(CPU_COUNT(&all));
  for (uint32_t core = 0, nth = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &all)) continue;
    if (nth * parts / count == index) CPU_SET(core, &share);
    ++nth;
  }
  static_cast<void>(::sched_setaffinity(0, sizeof share, &share));
#else
  static_cast<void>(index);
#endif
  return true;
}

}  // namespace cidery
