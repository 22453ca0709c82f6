#include "program/plan_channel.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <new>

namespace cidery::program {
namespace {

/// A million tokens at once.
constexpr uint32_t most_plan_bytes = 4u << 20;

/// Every message has this length, so that the receiver knows it before it knows the plan's.
struct FirstMessage {
  uint32_t size = 0;  // of the whole plan; 0: there are no more
  std::array<std::byte, first_plan_bytes> bytes{};
};

}  // namespace

Status send_plan(group::Group& group, std::span<const std::byte> plan) noexcept {
  if (plan.size() > most_plan_bytes) return {"plan_invalid", "it is longer than any plan"};
  FirstMessage first;
  first.size = static_cast<uint32_t>(plan.size());
  const auto begin = plan.first(std::min(plan.size(), first_plan_bytes));
  if (!begin.empty()) std::memcpy(first.bytes.data(), begin.data(), begin.size());
  if (Status status = group.broadcast(&first, sizeof first, 0); !status.ok()) return status;
  const auto rest = plan.subspan(begin.size());
  if (rest.empty()) return {};
  // A rank that is the root only reads.
  return group.broadcast(const_cast<std::byte*>(rest.data()), rest.size(), 0);
}

Status send_leave(group::Group& group) noexcept { return send_plan(group, {}); }

Status receive_plan(group::Group& group, std::vector<std::byte>& plan) noexcept {
  if (Status status = group.await(0); !status.ok()) return status;
  FirstMessage first;
  if (Status status = group.broadcast(&first, sizeof first, 0); !status.ok()) return status;
  if (first.size > most_plan_bytes) {
    return {"group_mismatch", "rank 0 sends a plan that is longer than any"};
  }
  try {
    plan.resize(first.size);
  } catch (const std::bad_alloc&) {
    return {"out_of_memory", "no memory for a plan"};
  }
  const size_t begin = std::min<size_t>(plan.size(), first_plan_bytes);
  if (begin > 0) std::memcpy(plan.data(), first.bytes.data(), begin);
  if (begin == plan.size()) return {};
  return group.broadcast(plan.data() + begin, plan.size() - begin, 0);
}

}  // namespace cidery::program
