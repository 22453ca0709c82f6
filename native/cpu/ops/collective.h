#pragma once

#include <vector>

#include "cpu/pass.h"
#include "group/group.h"
#include "program/program.h"

namespace cidery::cpu {

/// What the collectives of a program share: the group, and room for rows that do not lie one behind
/// the other.
class CollectiveRoom {
 public:
  /// `floats`: `most_rows` rows of the widest matrix that goes between ranks; `halves`: of the
  /// widest of which a rounded sum is made.
  CollectiveRoom(group::Group& group, float* floats, uint16_t* halves)
      : group_(group), floats_(floats), halves_(halves) {
    bytes_.resize(group.size());
  }

  group::Group& group() const noexcept { return group_; }
  float* floats() const noexcept { return floats_; }
  uint16_t* halves() const noexcept { return halves_; }
  /// Of each rank's part, as the group takes them.
  std::vector<size_t>& bytes() noexcept { return bytes_; }

 private:
  group::Group& group_;
  float* floats_;
  uint16_t* halves_;
  std::vector<size_t> bytes_;
};

/// `rounded_sum`: of the room's halves, which other steps fill and read.
enum class CollectiveKind { sum, rounded_sum, gather, send, receive };

/// What a rank does with the others. Runs on the step thread; a matrix that lies in one piece goes
/// as it is.
struct CollectiveRegion {
  CollectiveKind kind = CollectiveKind::sum;
  program::Domain domain = program::Domain::tokens;
  View out, in;                  // a sum and what is received have out alone, a send in alone
  uint32_t peer = 0;             // send and receive
  std::vector<uint32_t> layout;  // gather: columns of each rank's part
  CollectiveRoom* room = nullptr;

  /// Nothing for no rows.
  Status run(const Tools& tools) const noexcept;

 private:
  Status sum(const Tools& tools, uint32_t rows) const noexcept;
  Status gather(const Tools& tools, uint32_t rows) const noexcept;
  Status send(const Tools& tools, uint32_t rows) const noexcept;
  Status receive(const Tools& tools, uint32_t rows) const noexcept;
};

}  // namespace cidery::cpu
