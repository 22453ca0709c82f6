#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <set>

#include "group/crypto.h"
#include "group/handshake.h"
#include "group/socket.h"
#include "test/check.h"
#include "test/group_cases.h"
#include "test/group_proxy.h"

/// Ranks that are killed, stopped or cut off, bytes that are tampered with, and strangers at the
/// door: an error within the time that was given, never a hang and never a wrong sum.
namespace cidery::test {
namespace {

using namespace std::chrono_literals;
using group::Clock;
using group::Group;
using group::GroupOptions;

constexpr uint32_t silence_ms = 900;
/// On a machine that is busy with other things.
constexpr auto patience = 4s;

GroupOptions hasty_options() {
  GroupOptions options;
  options.connect_ms = 10'000;
  options.silence_ms = silence_ms;
  options.wait_ms = 2'500;
  return options;
}

/// Sums until the group ends; a sum that is wrong is a failed check.
Status sum_until_end(Group& group, size_t count) {
  std::vector<float> data(count);
  for (;;) {
    std::fill(data.begin(), data.end(), static_cast<float>(group.rank() + 1));
    if (Status status = group.all_sum(data.data(), count, group::Element::f32); !status.ok()) {
      return status;
    }
    const float whole = static_cast<float>(group.size() * (group.size() + 1)) / 2;
    for (const float value : data) {
      if (value != whole) {
        check(false, "a wrong sum");
        return {"wrong", ""};
      }
    }
  }
}

/// Ranks 1 and up are processes; the last is sent `signal` while it sums (or computes).
void check_signal(int signal, size_t count, bool only_send, const std::set<std::string>& codes,
                  const std::string& name) {
  constexpr uint32_t size = 3;
  Doors doors(size, hasty_options());
  std::vector<pid_t> children;
  for (uint32_t r = 1; r < size; ++r) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    try {
      auto group = doors.connect(r);
      if (only_send) std::this_thread::sleep_for(20s);
      const Status status = sum_until_end(*group, count);
      // Rank 1 has to have the same reason, or be told of the end.
      ::_exit(codes.contains(status.code) ? 0 : 1);
    } catch (...) {
      ::_exit(2);
    }
  }
  doors.listeners.resize(1);
  auto group = doors.connect(0);
  std::atomic<int64_t> at{0};
  std::thread killer([&] {
    std::this_thread::sleep_for(150ms);
    at.store(Clock::now().time_since_epoch().count());
    ::kill(children.back(), signal);
  });
  Status status;
  if (only_send) {
    const std::vector<std::byte> much(1 << 20);
    // Slowly enough for what is kept.
    while (status.ok()) {
      status = group->send(much.data(), much.size(), size - 1);
      std::this_thread::sleep_for(5ms);
    }
  } else {
    status = sum_until_end(*group, count);
  }
  const Clock::duration taken =
      Clock::now() - Clock::time_point(Clock::duration(at.load()));
  killer.join();
  check(codes.contains(status.code), name + ": " + status.code + " " + status.message);
  check(taken < std::chrono::milliseconds(silence_ms) + patience, name + ": in time");
  group.reset();
  if (only_send) ::kill(children[0], SIGKILL);
  int how = 0;
  ::waitpid(children[0], &how, 0);
  check(only_send || (WIFEXITED(how) && WEXITSTATUS(how) == 0),
        name + ": another rank ends, too: " + std::to_string(how));
  ::kill(children.back(), SIGKILL);
  ::waitpid(children.back(), &how, 0);
}

struct Ends {
  Status of[2];
};

/// Two ranks of which one calls the other through somebody in the middle.
Ends with_proxy(Fault fault, size_t after, size_t count) {
  Doors doors(2, hasty_options());
  Proxy proxy(doors.listeners[0]->port(), fault, after);
  doors.options.addresses[0].port = proxy.port();
  Ends ends;
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto group = doors.connect(r);
        ends.of[r] = sum_until_end(*group, count);
      } catch (const Error& error) {
        ends.of[r] = {error.code(), error.what()};
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ends;
}

void check_middle() {
  const std::set<std::string> tampered = {"group_corrupt"};
  const std::set<std::string> lost = {"group_peer_lost", "group_corrupt"};
  const std::set<std::string> silent = {"group_silent"};
  struct Row {
    Fault fault;
    const char* name;
    const std::set<std::string>& codes;
  };
  for (const Row& row : {Row{Fault::alter, "altered", tampered},
                         Row{Fault::repeat, "repeated", tampered},
                         Row{Fault::swap, "out of order", tampered}, Row{Fault::cut, "cut", lost},
                         Row{Fault::half_close, "half closed", lost},
                         Row{Fault::drop, "dropped", silent}}) {
    for (const size_t count : {size_t{2}, size_t{400'000}}) {
      const Ends ends = with_proxy(row.fault, 20'000, count);
      for (const Status& status : ends.of) {
        check(row.codes.contains(status.code), std::string(row.name) + ", " +
                                                   std::to_string(count) + " elements: " +
                                                   status.code + " " + status.message);
      }
    }
  }
}

/// Strangers before and while ranks connect: garbage, half a hello, nothing at all, an old hello.
void check_strangers() {
  Doors doors(2, hasty_options());
  const group::Address door = doors.options.addresses[0];
  const group::Hello old =
      group::make_hello(doors.options.key, {2, 1, 0, 0}, group::random_key());
  std::atomic<bool> stop{false};
  std::thread strangers([&] {
    std::vector<group::Socket> kept;
    std::mt19937 random(5);
    for (uint32_t i = 0; !stop.load(); ++i) {
      group::Socket socket = group::begin_connect(door);
      if (!socket.open()) continue;
      std::this_thread::sleep_for(300us);
      std::vector<std::byte> said(random() % 200);
      for (std::byte& byte : said) byte = static_cast<std::byte>(random());
      if (i % 4 == 1) group::write_some(socket, old);
      if (i % 4 == 2) group::write_some(socket, std::span(old).first(20));
      if (i % 4 == 3) group::write_some(socket, said);
      kept.push_back(std::move(socket));
      if (kept.size() > 200) kept.clear();
    }
  });
  std::this_thread::sleep_for(100ms);
  std::vector<Status> ends(2);
  std::vector<std::thread> threads;
  for (uint32_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto group = doors.connect(r);
        float value = 1;
        for (int i = 0; i < 500 && ends[r].ok(); ++i) {
          value = 1;
          ends[r] = group->all_sum(&value, 1, group::Element::f32);
          if (value != 2) ends[r] = {"wrong", "a wrong sum"};
        }
      } catch (const Error& error) {
        ends[r] = {error.code(), error.what()};
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& end : ends) check(end.ok(), "strangers: " + end.code + " " + end.message);
  const group::Socket late = group::begin_connect(door);
  std::this_thread::sleep_for(20ms);
  check(!late.open() || group::connect_result(late) != 0, "the door is closed afterwards");
  stop.store(true);
  strangers.join();
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  if (!cidery::group::crypto_available()) {
    std::printf("group_faults: 0 passed, 0 failed, skipped: libcrypto is not on this machine\n");
    return 0;
  }
  check_signal(SIGKILL, 512, false, {"group_peer_lost"}, "killed");
  check_signal(SIGKILL, 1'000'000, false, {"group_peer_lost"}, "killed in a large sum");
  check_signal(SIGSTOP, 512, false, {"group_silent"}, "stopped");
  check_signal(SIGSTOP, 1'000'000, false, {"group_silent"}, "stopped in a large sum");
  check_signal(SIGSTOP, 1, true, {"group_silent"}, "stopped while we send");
  check_strangers();
  check_middle();
  return summary("group_faults");
}
