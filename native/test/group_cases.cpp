#include "test/group_cases.h"

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "group/crypto.h"
#include "group/sum.h"
#include "test/check.h"

namespace cidery::test {
namespace {

using group::Element;
using group::Group;
using Bytes = std::vector<std::byte>;

uint16_t narrow(float value) {
  // Nearest even by the definition: of the two neighbours the closer, of equals the even one.
  const uint32_t bits = std::bit_cast<uint32_t>(value), low = bits & 0xffff;
  uint16_t high = static_cast<uint16_t>(bits >> 16);
  if (low > 0x8000 || (low == 0x8000 && (high & 1) != 0)) ++high;
  return high;
}

Bytes random_bytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

float value_at(const Bytes& values, size_t i, Element element) {
  float value = 0;
  if (element == Element::f32) {
    std::memcpy(&value, &values[i * 4], 4);
    return value;
  }
  uint16_t high = 0;
  std::memcpy(&high, &values[i * 2], 2);
  return std::bit_cast<float>(uint32_t{high} << 16);
}

/// One round of every call; how many went wrong.
uint32_t run_round(Group& group, uint32_t seed, size_t most_bytes, Adding adding) {
  std::mt19937 random(seed);
  const uint32_t rank = group.rank(), size = group.size();
  uint32_t wrong = 0;
  const auto expect = [&](bool holds) {
    if (!holds) ++wrong;
  };
  const Element element = random() % 2 == 0 ? Element::f32 : Element::bf16;
  const size_t count = random() % (most_bytes / group::bytes_of(element) + 1);
  Bytes sum = part_of_sum(rank, count, element, seed);
  expect(group.all_sum(sum.data(), count, element).ok());
  expect(is_sum(sum, size, element, seed, adding));

  std::vector<size_t> widths(size);
  Bytes all;
  for (uint32_t r = 0; r < size; ++r) {
    widths[r] = random() % 3 == 0 ? 0 : random() % (most_bytes + 1);
    const Bytes part = random_bytes(widths[r], seed + r);
    all.insert(all.end(), part.begin(), part.end());
  }
  Bytes gathered(all.size());
  const Bytes mine = random_bytes(widths[rank], seed + rank);
  const void* from = mine.data();
  if (random() % 2 == 0) {  // where its place is already
    std::byte* place = gathered.data();
    for (uint32_t r = 0; r < rank; ++r) place += widths[r];
    if (!mine.empty()) std::memcpy(place, mine.data(), mine.size());
    from = place;
  }
  expect(group.all_gather(from, gathered.data(), widths).ok() && gathered == all);

  const uint32_t root = random() % size;
  Bytes at_root(rank == root ? all.size() : 0);
  expect(group.gather(mine.data(), at_root.data(), widths, root).ok());
  expect(rank != root || at_root == all);
  const Bytes plan = random_bytes(random() % (most_bytes + 1), seed);
  Bytes told = rank == root ? plan : Bytes(plan.size());
  expect(group.broadcast(told.data(), told.size(), root).ok() && told == plan);

  // To the next rank and back from the one before: all send first.
  const Bytes sent = random_bytes(random() % (most_bytes + 1), seed);
  Bytes received(sent.size());
  if (size > 1) {
    expect(group.send(sent.data(), sent.size(), (rank + 1) % size).ok());
    expect(group.send(sent.data(), sent.size() / 2, (rank + 1) % size).ok());
    const uint32_t before = (rank + size - 1) % size;
    expect(group.receive(received.data(), received.size(), before).ok() && received == sent);
    expect(group.receive(received.data(), received.size() / 2, before).ok());
  }
  return wrong;
}

}  // namespace

Doors::Doors(uint32_t size, group::GroupOptions with) : options(std::move(with)) {
  options.key = group::random_key();
  for (uint32_t r = 0; r < size; ++r) {
    listeners.push_back(group::listen("127.0.0.1"));
    options.addresses.push_back({"127.0.0.1", listeners.back()->port()});
  }
}

std::unique_ptr<group::Group> Doors::connect(uint32_t rank) {
  group::GroupOptions own = options;
  own.rank = rank;
  return group::connect_tcp(std::move(listeners[rank]), own);
}

Bytes part_of_sum(uint32_t rank, size_t count, Element element, uint32_t seed) {
  std::mt19937 random(seed * 31 + rank);
  Bytes bytes(count * group::bytes_of(element));
  for (size_t i = 0; i < count; ++i) {
    const float value = std::ldexp(static_cast<float>(random()) / 4e9f - 0.5f,
                                   static_cast<int>(random() % 24) - 12);
    const uint16_t narrowed = narrow(value);
    if (element == Element::f32) std::memcpy(&bytes[i * 4], &value, 4);
    else std::memcpy(&bytes[i * 2], &narrowed, 2);
  }
  return bytes;
}

Bytes sum_of_parts(uint32_t ranks, size_t count, Element element, uint32_t seed) {
  std::vector<Bytes> parts;
  for (uint32_t r = 0; r < ranks; ++r) parts.push_back(part_of_sum(r, count, element, seed));
  Bytes out(count * group::bytes_of(element));
  for (size_t i = 0; i < count; ++i) {
    float sum = value_at(parts[0], i, element);
    for (uint32_t r = 1; r < ranks; ++r) sum = sum + value_at(parts[r], i, element);
    const uint16_t narrowed = narrow(sum);
    if (element == Element::f32) std::memcpy(&out[i * 4], &sum, 4);
    else std::memcpy(&out[i * 2], &narrowed, 2);
  }
  return out;
}

bool is_sum(const Bytes& sum, uint32_t ranks, Element element, uint32_t seed, Adding adding) {
  const size_t count = sum.size() / group::bytes_of(element);
  const Bytes ours = sum_of_parts(ranks, count, element, seed);
  // What two add does not depend on their order.
  if (adding == Adding::in_rank_order || ranks <= 2) return sum == ours;
  std::vector<Bytes> parts;
  for (uint32_t r = 0; r < ranks; ++r) parts.push_back(part_of_sum(r, count, element, seed));
  const float half_unit = std::ldexp(1.0f, element == Element::f32 ? -24 : -8);
  for (size_t i = 0; i < count; ++i) {
    float size = 0;
    for (const Bytes& part : parts) size += std::abs(value_at(part, i, element));
    // Each addition of either rounds by half a unit of at most that size.
    const float most = 2 * static_cast<float>(ranks) * half_unit * size;
    const float apart = value_at(sum, i, element) - value_at(ours, i, element);
    if (!(std::abs(apart) <= most)) return false;
  }
  return true;
}

uint32_t make_calls(Group& group, uint32_t rounds, size_t most_bytes, Adding adding) {
  uint32_t wrong = 0;
  for (uint32_t round = 1; round <= rounds; ++round) {
    wrong += run_round(group, round, most_bytes, adding);
  }
  return wrong;
}

void check_collectives(Groups& groups, const std::string& name, uint32_t rounds,
                       size_t most_bytes) {
  std::atomic<uint32_t> wrong{0};
  on_every_rank(groups, [&](uint32_t, Group& group) {
    wrong.fetch_add(make_calls(group, rounds, most_bytes, Adding::in_rank_order));
  });
  check(wrong.load() == 0, name + " of " + std::to_string(groups.size()) + " ranks: " +
                               std::to_string(wrong.load()) + " calls went wrong");
}

void check_outbox(Groups groups, const std::string& name) {
  // More than any socket takes, both ways, and small ones behind it.
  constexpr size_t large = 40 << 20;
  std::atomic<uint32_t> sent{0}, wrong{0};
  const auto expect = [&](const Status& status, bool holds) {
    if (!status.ok()) std::printf("%s: %s\n", name.c_str(), status.message.c_str());
    if (!status.ok() || !holds) wrong.fetch_add(1);
  };
  on_every_rank(groups, [&](uint32_t rank, Group& group) {
    const uint32_t other = 1 - rank;
    for (uint32_t round = 0; round < 2; ++round) {
      const Bytes message = random_bytes(large, round);
      expect(group.send(message.data(), large, other), true);
      for (uint32_t i = 0; i < 100; ++i) expect(group.send(&i, sizeof i, other), true);
      // The other takes nothing before both have sent all.
      sent.fetch_add(1);
      while (sent.load() < 2 * (round + 1)) std::this_thread::yield();
      expect(group.await(other), true);
      Bytes received(large);
      expect(group.receive(received.data(), large, other), true);
      expect({}, received == message);
      for (uint32_t i = 0; i < 100; ++i) {
        uint32_t got = 0;
        expect(group.receive(&got, sizeof got, other), true);
        expect({}, got == i);
      }
      float value = 1;
      expect(group.all_sum(&value, 1, Element::f32), true);
      expect({}, value == 2);
    }
    // What is told is awaited, too, and for longer than `wait_ms`.
    uint64_t word = rank;
    if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3'300));
    if (rank == 1) expect(group.await(0), true);
    expect(group.broadcast(&word, sizeof word, 0), true);
    expect({}, word == 0);
    if (rank == 1) expect(group.await(0), true);
    if (rank == 0) expect(group.send(&word, sizeof word, 1), true);
    if (rank == 1) expect(group.receive(&word, sizeof word, 0), true);
  });
  check(wrong.load() == 0, name + ": messages that are kept: " + std::to_string(wrong.load()));
  // What was sent last is handed over by a rank that leaves.
  const Bytes last = random_bytes(large, 9);
  Status handed_over;
  std::thread leaving([&] {
    handed_over = groups[0]->send(last.data(), large, 1);
    groups[0].reset();
  });
  Bytes received(large);
  check(groups[1]->receive(received.data(), large, 0).ok() && received == last,
        name + ": the last message is whole");
  const Status lost = groups[1]->await(0);
  check(lost.code == "group_peer_lost", name + ": awaits one that has left: " + lost.code);
  leaving.join();
  check(handed_over.ok(), name + ": the last message: " + handed_over.code);
}

void check_bound(Groups groups, const std::string& name) {
  const Bytes megabyte(1 << 20);
  Status status;
  for (uint32_t i = 0; i < 1000 && status.ok(); ++i) {
    status = groups[0]->send(megabyte.data(), megabyte.size(), 1);
  }
  check(status.code == "group_failed", name + ": nothing is taken: " + status.code);
  Bytes received(1 << 20);
  while (groups[1]->receive(received.data(), received.size(), 0).ok()) {
  }
  const Status other = groups[1]->await(0);
  check(other.code == "group_failed", name + ": the other is told: " + other.code);
}

void check_fail(Groups groups, const std::string& name) {
  std::vector<Status> ends(2);
  std::atomic<bool> both_wait = false;
  std::thread other([&] {
    while (!both_wait) std::this_thread::yield();
    groups[1]->fail({"rank_disagrees", "it has other activations"});
    groups[1]->fail({"group_failed", "too late"});
  });
  on_every_rank(groups, [&](uint32_t rank, Group& group) {
    if (rank == 1) both_wait = true;
    ends[rank] = group.await(1 - rank);
  });
  other.join();
  check(ends[1].code == "rank_disagrees" && ends[1].message == "it has other activations",
        name + ": who waits hears why another thread ends the group, not " + ends[1].message);
  check(ends[0].code == "rank_disagrees", name + ": so do other ranks, not " + ends[0].code);
}

void check_mismatches(const std::function<Groups(uint32_t)>& open, const std::string& name) {
  using Call = std::function<Status(Group&)>;
  const auto sum = [](size_t count, Element element) -> Call {
    return [=](Group& group) {
      std::vector<float> own(count);
      return group.all_sum(own.data(), count, element);
    };
  };
  const Call tell = [](Group& group) {
    uint64_t word = 0;
    return group.broadcast(&word, sizeof word, 0);
  };
  const Call gather = [](Group& group) {
    std::vector<float> out(8);
    return group.all_gather(out.data(), out.data(), {4, 4});
  };
  const std::vector<std::pair<Call, Call>> pairs = {
      {sum(2, Element::f32), sum(3, Element::f32)},
      {sum(2, Element::f32), sum(4, Element::bf16)},
      {sum(50'000, Element::f32), sum(2, Element::f32)},
      {sum(50'000, Element::f32), sum(50'001, Element::f32)},
      {tell, sum(2, Element::f32)},
      {gather, sum(1, Element::f32)},
  };
  for (size_t i = 0; i < pairs.size(); ++i) {
    Groups groups = open(2);
    std::vector<Status> ends(2), later(2);
    on_every_rank(groups, [&](uint32_t rank, Group& group) {
      ends[rank] = (rank == 0 ? pairs[i].first : pairs[i].second)(group);
      // A broadcast's root hears of it in its next call.
      if (ends[rank].ok()) ends[rank] = sum(1, Element::f32)(group);
      later[rank] = sum(1, Element::f32)(group);
    });
    for (uint32_t r = 0; r < 2; ++r) {
      const std::string where = name + ", pair " + std::to_string(i) + ", rank " +
                                std::to_string(r) + ": " + ends[r].code + " " + ends[r].message;
      check(ends[r].code == "group_mismatch", where);
      check(later[r].code == ends[r].code && later[r].message == ends[r].message,
            where + ", then another status");
    }
  }
}

}  // namespace cidery::test
