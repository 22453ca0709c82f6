#pragma once

#include <vector>

#include "group/connection.h"
#include "group/handshake.h"

namespace cidery::group {

/// Connections between two ranks: two for data, one for the signs of life.
constexpr uint32_t data_channels = 2, liveness_channel = data_channels;
constexpr uint32_t channels = data_channels + 1;

struct Met {
  std::vector<std::vector<Connection>> by_rank;  // each in channel order; none for the own rank
  uint64_t refused = 0;                          // callers that did not prove themselves
};

/// Connects to the lower ranks and waits for the higher ones, until all are there. Strangers cost a
/// bounded number of sockets for a bounded time. Throws Error `group_connect_failed` or
/// `group_refused`, with the rank that is missing.
Met meet_all(const Socket& listener, const GroupOptions& options);

}  // namespace cidery::group
