#include "addon/groups.h"

#ifdef CIDERY_WITH_RING
#include "ring/ring_group.h"
#endif

namespace cidery::addon {

std::unique_ptr<group::Group> open_group(const std::string& backend,
                                         std::unique_ptr<group::Listener> listener,
                                         const group::GroupOptions& options) {
  if (backend == "tcp") return group::connect_tcp(std::move(listener), options);
#ifdef CIDERY_WITH_RING
  if (backend == "unsealed-mlx-ring") return ring::connect_ring(std::move(listener), options);
#endif
  throw Error("group_unavailable", "this build of the addon holds no '" + backend + "' group");
}

}  // namespace cidery::addon
