#pragma once

#include <cstddef>
#include <vector>

#include "program/step_plan.h"

namespace cidery::program {

/// A plan of literals as the other ranks of a group get it, for decode_plan. It has no samplers: a
/// row whose token the largest logit decides is one to sample with a sampler that takes it, and one
/// whose token rank 0 draws is a row of logits.
std::vector<std::byte> encode_follower_plan(const StepPlan& plan);

}  // namespace cidery::program
