#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "program/step_plan.h"

namespace cidery::program {

/// The tokens that each slot holds and the one that its last step drew: what `last_sample` stands
/// for and what penalties look at. Every executor keeps one, so that all of them resolve a plan
/// alike.
class SlotHistory {
 public:
  explicit SlotHistory(uint32_t slots) : slots_(slots) {}

  /// Retires, copies, forgets and extends as a checked plan says. Returns the new token ids of each
  /// of the plan's sequences, in order, `count` long; they hold until the next call of `apply`. A
  /// `last_sample` of a slot whose logits were not finite is token 0: that sequence has already
  /// failed and what it brings is thrown away by the scheduler.
  const std::vector<std::span<const uint32_t>>& apply(const StepPlan& plan);

  /// Keeps the token that the running step drew for `slot`, for the next plan's `last_sample`.
  void record(uint32_t slot, uint32_t token) noexcept { slots_[slot].last_sample = token; }

  /// Tokens at positions 0 .. held(slot) - 1, those of the running step included: `sample`'s
  /// history.
  std::span<const uint32_t> tokens(uint32_t slot) const noexcept { return slots_[slot].tokens; }

  /// Positions that the slot holds, those of the running step included: the position of the token
  /// to draw.
  uint32_t held(uint32_t slot) const noexcept {
    return static_cast<uint32_t>(slots_[slot].tokens.size());
  }

 private:
  struct Slot {
    std::vector<uint32_t> tokens;
    std::optional<uint32_t> last_sample;
  };
  std::vector<Slot> slots_;
  std::vector<std::span<const uint32_t>> news_;  // of the last plan
};

}  // namespace cidery::program
