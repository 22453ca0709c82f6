#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "cpu/pass.h"
#include "program/program.h"

namespace cidery::cpu {

/// Some tokens of a sequence and the query heads that share a key head, for one layer. Its spans
/// are computed side by side; whoever ends the last one merges them.
struct AttentionUnit {
  uint32_t sequence = 0, first_token = 0, tokens = 0, key_head = 0;
  uint32_t first_head = 0, heads = 0;  // of the queries
  uint32_t first_span = 0, spans = 0;
  uint32_t first_task = 0;  // of its spans
  size_t partials = 0;      // floats into the room
};

/// Room that the attention operations of a program share, sized once.
class AttentionRoom {
 public:
  static constexpr uint32_t most_units = 2048;

  /// `floats`: of partial results; at least what one token's heads need over a whole context.
  AttentionRoom(float* partials, size_t floats);

  float* partials() const noexcept { return partials_; }
  size_t floats() const noexcept { return floats_; }
  std::vector<AttentionUnit>& units() noexcept { return units_; }
  std::atomic<uint32_t>* left() noexcept { return left_.get(); }

 private:
  float* partials_;
  size_t floats_;
  std::vector<AttentionUnit> units_;
  std::unique_ptr<std::atomic<uint32_t>[]> left_;  // spans of each unit that have not ended
};

/// Floats of partial results that one token's heads need over `positions` positions.
size_t least_attention_floats(const program::Attention& op, uint32_t positions);

/// The second half of an attention operation: queries that are prepared attend to their sequence's
/// cache. A query's spans are merged in ascending order, however the work was cut.
struct AttendRegion {
  program::Attention op;
  View queries, out;
  const float* sinks = nullptr;  // [heads], or null
  AttentionRoom* room = nullptr;

  void run(const Tools& tools) const noexcept;

 private:
  uint32_t first_span(uint32_t position) const noexcept;
  void flush(const Tools& tools) const noexcept;
  AttentionArguments arguments_of(const Tools& tools, const AttentionUnit& unit,
                                  uint32_t span) const noexcept;
  void merge(const Tools& tools, const AttentionUnit& unit) const noexcept;
  bool append(const Tools& tools, AttentionUnit unit) const noexcept;
};

}  // namespace cidery::cpu
