#pragma once

#include <cstdint>
#include <span>

#include "program/step_plan.h"

namespace cidery::sampling {

/// Draws the next token from one row of logits [vocabulary], on the host, the same on every
/// executor.
///
/// Order: logprobs are those of the row as it came. Then the mask (forbidden tokens leave), logit
/// biases, repetition (over all of `history`: positive logits are divided, negative multiplied),
/// presence and frequency (over history from `prompt_length` on), temperature, top-k, top-p, min-p.
/// Temperature 0 takes the largest, ties to the lowest id. Else one uniform number decides,
/// counter-based on (seed, choice, position), walking the survivors in id order: a token depends on
/// nothing else, so an answer can be reproduced from its seed, alone or in a batch.
///
/// `history` holds the sequence's tokens at positions 0 .. position - 1; `row` may be overwritten.
program::SequenceResult sample(std::span<float> row, const program::Sampler& sampler,
                               std::span<const uint32_t> history, uint32_t position) noexcept;

/// Uniform in [0, 1) from the counter.
double uniform(uint64_t seed, uint32_t choice, uint32_t position) noexcept;

}  // namespace cidery::sampling
