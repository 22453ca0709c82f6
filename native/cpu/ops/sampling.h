#pragma once

#include <span>

#include "cpu/pass.h"
#include "program/slot_history.h"
#include "program/step_plan.h"

namespace cidery::cpu {

/// Turns rows of logits into what their sequences asked for: a token, drawn as sampling::sample
/// does, or the row itself. `wanted` names the rows of `logits`, in order. `known`: empty, or the
/// largest of each row that is_greedy, whose logits are then not looked at.
void collect_logits(const Tools& tools, const program::StepPlan& plan,
                    const program::SlotHistory& history, std::span<const WantedRow> wanted,
                    const View& logits, std::span<const Largest> known,
                    program::StepResult& result) noexcept;

}  // namespace cidery::cpu
