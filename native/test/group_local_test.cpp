#include <cmath>
#include <cstring>
#include <limits>

#include "group/sum.h"
#include "test/check.h"
#include "test/group_cases.h"

/// The sum, and the group of threads.
namespace cidery::test {
namespace {

using group::Element;

void check_sums() {
  for (const Element element : {Element::f32, Element::bf16}) {
    for (const uint32_t ranks : {1u, 2u, 3u, 9u}) {
      for (const size_t count : {size_t{0}, size_t{1}, size_t{511}, size_t{512}, size_t{1500}}) {
        std::vector<std::vector<std::byte>> parts;
        std::vector<const void*> pointers;
        for (uint32_t r = 0; r < ranks; ++r) parts.push_back(part_of_sum(r, count, element, 7));
        for (const auto& part : parts) pointers.push_back(part.data());
        // Into one of the parts, as a rank does.
        auto& out = parts[ranks / 2];
        group::add_in_order(out.data(), pointers, count, element);
        check(out == sum_of_parts(ranks, count, element, 7),
              "a sum of " + std::to_string(ranks) + " parts of " + std::to_string(count));
      }
    }
  }
}

void check_special_values() {
  const auto sum = [](uint16_t a, uint16_t b) {
    const std::array<const void*, 2> parts = {&a, &b};
    uint16_t out = 0;
    group::add_in_order(&out, parts, 1, Element::bf16);
    return out;
  };
  check(sum(0x3f80, 0x3f80) == 0x4000, "1 + 1");
  check(sum(0x7f80, 0x3f80) == 0x7f80, "infinity stays");
  check(sum(0x7f7f, 0x7f7f) == 0x7f80, "too large is infinity");
  check((sum(0x7f80, 0xff80) & 0x7fff) > 0x7f80, "infinity minus infinity is no number");
  check((sum(0x7fff, 0x3f80) & 0x7fff) > 0x7f80, "no number does not round to a number");
  check(sum(0x8000, 0x8000) == 0x8000, "-0 + -0");
  check(sum(0x0001, 0x0001) == 0x0002, "the smallest");
}

void check_shares() {
  for (const size_t count : {size_t{0}, size_t{1}, size_t{31}, size_t{33}, size_t{4097}}) {
    for (const uint32_t ranks : {1u, 2u, 3u, 7u}) {
      size_t at = 0, most = 0, least = count;
      for (uint32_t r = 0; r < ranks; ++r) {
        const group::Share share = group::share_of(count, r, ranks);
        check(share.first == at || share.count == 0, "shares follow each other");
        at += share.count;
        most = std::max(most, share.count);
        least = std::min(least, share.count);
      }
      check(at == count && most - least < 64, "shares of " + std::to_string(count));
    }
  }
}

void check_leaving() {
  Groups groups = group::open_local(2);
  groups[1].reset();
  float value = 1;
  check(groups[0]->all_sum(&value, 1, Element::f32).code == "group_peer_lost", "one has left");
  check(groups[0]->send(&value, 4, 1).code == "group_peer_lost", "later calls say the same");
  groups = group::open_local(2);
  check(groups[0]->send(&value, 4, 0).code == "group_mismatch", "to itself");
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  check_sums();
  check_special_values();
  check_shares();
  check_leaving();
  for (const uint32_t size : {1u, 2u, 3u, 4u}) {
    Groups groups = cidery::group::open_local(size);
    check_collectives(groups, "local", 50, 60'000);
  }
  check_mismatches([](uint32_t size) { return cidery::group::open_local(size); }, "local");
  check_outbox(cidery::group::open_local(2), "local");
  check_bound(cidery::group::open_local(2, 1 << 20), "local");
  return summary("group_local");
}
