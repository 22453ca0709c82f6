#pragma once

#include <memory>
#include <string>

#include "group/group.h"

/// MLX Distributed's own groups behind our interface: what ours is compared with, in tests and by
/// the bench. In none of the addons that users have, because it can wait for ever and is neither
/// sealed nor in rank order.
namespace cidery::ring {

/// Whether the library was built with `backend`: ring, jaccl, mpi, nccl.
bool mlx_can_group(const std::string& backend);

/// Joins the group that the environment describes (MLX_RANK, MLX_HOSTFILE for the ring); one such
/// group at a time and process. Waits without limit for ranks that never come, as all of its calls
/// do for data. What else it does not keep of the interface:
///  - sums are added in the library's order, in the type of the elements;
///  - `send` waits until the sockets have taken everything, so two ranks that send each other more
///    than those hold wait for ever; a ring sends to neighbours only;
///  - `gather` brings the parts to every rank;
///  - `await` returns at once, because the call that follows waits as long;
///  - ranks that make different calls are not noticed;
///  - `fail` ends the later calls of this rank only.
/// A peer that is lost is `group_peer_lost` to its neighbours, everything else `group_failed`.
/// Throws Error `group_connect_failed`.
std::unique_ptr<group::Group> open_mlx_group(const std::string& backend);

}  // namespace cidery::ring
