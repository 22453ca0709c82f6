#pragma once

#include <memory>
#include <string>

#include "group/group.h"

namespace cidery::addon {

/// Joins the other ranks by the named backend: `tcp`, or, in the addon that is built for tests and
/// the bench alone, `unsealed-mlx-ring`. Throws Error `group_unavailable` for one that this build
/// has not, and what the backend throws.
std::unique_ptr<group::Group> open_group(const std::string& backend,
                                         std::unique_ptr<group::Listener> listener,
                                         const group::GroupOptions& options);

}  // namespace cidery::addon
