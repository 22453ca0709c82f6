#pragma once

#include <span>

#include "cpu/pass.h"
#include "program/slot_history.h"
#include "program/step_plan.h"

namespace cidery::cpu {

/// Turns rows of logits into what their sequences asked for: a token, drawn as sampling::sample
/// does, or the row itself. `wanted` names the rows of `logits`, in order.
void collect_logits(const Tools& tools, const program::StepPlan& plan,
                    const program::SlotHistory& history, std::span<const WantedRow> wanted,
                    const View& logits, program::StepResult& result) noexcept;

}  // namespace cidery::cpu
