#pragma once

#include <memory>

#include "group/group.h"

namespace cidery::ring {

/// As group::connect_tcp, but what the ranks say to each other from then on goes through MLX's ring
/// (see open_mlx_group), in the clear and at ports that anybody may call, so all addresses have to
/// be in 127.0.0.0/8. Puts where they listen into this process's environment for a moment, which no
/// other thread may read or change meanwhile. The library tries a neighbour that does not answer at
/// once again after whole seconds, and one that never comes for ever. Throws Error
/// `group_unavailable` for other addresses, and what connect_tcp and open_mlx_group throw.
std::unique_ptr<group::Group> connect_ring(std::unique_ptr<group::Listener> listener,
                                           const group::GroupOptions& options);

}  // namespace cidery::ring
