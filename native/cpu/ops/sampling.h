#pragma once

#include <span>
#include <vector>

#include "cpu/pass.h"
#include "program/slot_history.h"
#include "program/step_plan.h"

namespace cidery::cpu {

/// A plan and the tokens that its draws look back at.
struct Draws {
  const program::StepPlan& plan;
  const program::SlotHistory& history;
  /// Null, or of each sequence as it was when the step began: later ones may have begun since.
  const std::vector<std::vector<uint32_t>>* kept = nullptr;

  std::span<const uint32_t> tokens(uint32_t sequence) const noexcept {
    return kept != nullptr ? std::span<const uint32_t>((*kept)[sequence])
                           : history.tokens(plan.sequences[sequence].slot);
  }
};

/// Whether a draw looks back at the tokens before it.
bool looks_back(const program::PlannedSequence& sequence) noexcept;

/// Turns rows of logits into what their sequences asked for: a token, drawn as sampling::sample
/// does, or the row itself. `wanted` names the rows of `logits`, in order. `known`: empty, or the
/// largest of each row that is_greedy, whose logits are then not looked at.
void collect_logits(const Tools& tools, const Draws& draws, std::span<const WantedRow> wanted,
                    const View& logits, std::span<const Largest> known,
                    program::StepResult& result) noexcept;

}  // namespace cidery::cpu
