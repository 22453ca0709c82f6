#include <cstring>

#include "group/group.h"

namespace cidery::group {

Status Group::gather(const void* mine, void* out, const std::vector<size_t>& bytes,
                     uint32_t root) noexcept {
  if (bytes.size() != size()) return {"group_mismatch", "a gather needs a size for each rank"};
  if (rank() != root) return send(mine, bytes[rank()], root);
  auto* part = static_cast<std::byte*>(out);
  for (uint32_t from = 0; from < size(); part += bytes[from++]) {
    if (from != root) {
      if (Status status = receive(part, bytes[from], from); !status.ok()) return status;
    } else if (part != mine && bytes[root] > 0) {
      std::memcpy(part, mine, bytes[root]);
    }
  }
  return {};
}

}  // namespace cidery::group
