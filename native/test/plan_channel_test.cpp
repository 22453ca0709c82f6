#include "program/plan_channel.h"

#include "test/check.h"
#include "test/group_cases.h"

/// Plans on their way from rank 0 to the others, of every length around that of the first message.
using namespace cidery;
using cidery::test::check;

namespace {

std::vector<std::byte> plan_of(size_t size) {
  std::vector<std::byte> plan(size);
  for (size_t i = 0; i < size; ++i) plan[i] = static_cast<std::byte>(i * 7 % 251);
  return plan;
}

constexpr size_t first = program::first_plan_bytes;
const std::vector<size_t> sizes{24, first - 4, first, first + 4, 300'000};

bool lead(group::Group& group) {
  bool sent = true;
  for (const size_t size : sizes) sent = sent && program::send_plan(group, plan_of(size)).ok();
  const Status longer = program::send_plan(group, plan_of((4u << 20) + 4));
  return sent && longer.code == "plan_invalid" && program::send_leave(group).ok();
}

bool follow(group::Group& group) {
  std::vector<std::byte> plan = plan_of(8);
  for (const size_t size : sizes) {
    if (!program::receive_plan(group, plan).ok() || plan != plan_of(size)) return false;
  }
  return program::receive_plan(group, plan).ok() && plan.empty();
}

void round_trip(uint32_t ranks) {
  test::Groups groups = group::open_local(ranks);
  std::vector<char> went_well(ranks);
  test::on_every_rank(groups, [&](uint32_t rank, group::Group& group) {
    went_well[rank] = rank == 0 ? lead(group) : follow(group);
  });
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    check(went_well[rank] != 0, "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  }
}

void lost_leader() {
  test::Groups groups = group::open_local(2);
  groups[0].reset();
  std::vector<std::byte> plan;
  check(program::receive_plan(*groups[1], plan).code == "group_peer_lost",
        "a follower hears that rank 0 is gone");
}

}  // namespace

int main() {
  round_trip(2);
  round_trip(3);
  lost_leader();
  return test::summary("plan_channel");
}
