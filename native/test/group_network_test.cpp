#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>

#include "group/crypto.h"
#include "test/check.h"
#include "test/group_cases.h"

#ifdef __linux__
#include <sched.h>
#endif

/// A network of its own, in which the system drops every packet from some time on: not even the end
/// of a connection gets through.
namespace cidery::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr uint32_t silence_ms = 900;
/// On a machine that is busy with other things.
constexpr auto patience = 4s;

/// Whether this process is now alone in a network that it may cut.
bool enter_network() {
#ifdef __linux__
  return ::geteuid() == 0 && ::unshare(CLONE_NEWNET) == 0 &&
         std::system("ip link set lo up && iptables -w -L INPUT >/dev/null") == 0;
#else
  return false;
#endif
}

/// Two ranks that sum, or of which one only waits for the other, until the network is cut.
void check_drop(bool only_await) {
  group::GroupOptions options;
  options.connect_ms = 10'000;
  options.silence_ms = silence_ms;
  Doors doors(2, options);
  std::atomic<int> met{0}, sums{0};
  std::vector<Status> ends(2);
  std::vector<Clock::time_point> ended(2);
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto group = doors.connect(r);
        met.fetch_add(1);
        while (ends[r].ok()) {
          float value = 1;
          ends[r] = only_await ? group->await(1 - r)
                               : group->all_sum(&value, 1, group::Element::f32);
          if (ends[r].ok() && value != 2) ends[r] = {"wrong", "a wrong sum"};
          sums.fetch_add(1);
        }
        ended[r] = Clock::now();
      } catch (const Error& error) {
        ends[r] = {error.code(), error.what()};
        met.fetch_add(1);
        sums.store(1000);
      }
    });
  }
  while (met.load() < 2 || (!only_await && sums.load() < 1000)) std::this_thread::sleep_for(1ms);
  check(std::system("iptables -w -A INPUT -j DROP") == 0, "the network is cut");
  const auto cut = Clock::now();
  for (std::thread& thread : threads) thread.join();
  for (uint32_t r = 0; r < 2; ++r) {
    check(ends[r].code == "group_silent", "cut off: " + ends[r].code + " " + ends[r].message);
    check(ended[r] - cut < std::chrono::milliseconds(silence_ms) + patience, "in time");
  }
  check(std::system("iptables -w -F INPUT") == 0, "the network is whole again");
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  if (!cidery::group::crypto_available()) {
    std::printf("group_network: 0 passed, 0 failed, skipped: libcrypto is not on this machine\n");
    return 0;
  }
  if (!enter_network()) {
    std::printf("group_network: 0 passed, 0 failed, skipped: this user cannot cut a network "
                "(needs root, ip and iptables)\n");
    return 0;
  }
  check_drop(false);
  check_drop(true);
  return summary("group_network");
}
