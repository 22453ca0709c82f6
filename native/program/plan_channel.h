#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "group/group.h"

/// How rank 0 tells the other ranks of a group what the next step is.
namespace cidery::program {

/// What of a plan fits into its first message; the whole of an ordinary one.
inline constexpr size_t first_plan_bytes = 1020;

/// Rank 0: an encoded plan to all others.
Status send_plan(group::Group& group, std::span<const std::byte> plan) noexcept;
/// Rank 0: there are no more plans.
Status send_leave(group::Group& group) noexcept;
/// The others: waits for what comes next, for as long as rank 0 lives. An empty `plan`: there are
/// no more. Code `group_mismatch` when it is longer than any plan.
Status receive_plan(group::Group& group, std::vector<std::byte>& plan) noexcept;

}  // namespace cidery::program
