#pragma once

#include "test/executor_steps.h"

/// What every executor has to do, whatever computes it.
namespace cidery::test {

/// How far logits may be off those of the oracle, in units of their deviation.
struct Tolerances {
  double dense = 2e-5;   // dense and affine matrices
  double blocks = 5e-5;  // GGUF's block formats
  double long_run = 1e-4;  // after hundreds of positions
};

/// Each operation's variants, each rope, each storage, against plain loops in double.
void compare_architectures(const OpenExecutor& open, double tolerance);
void compare_ropes(const OpenExecutor& open, double tolerance);
void compare_storages(const OpenExecutor& open, const Tolerances& tolerances);

/// A sequence's logits have the same bits alone and beside others, and however its prompt was cut.
void check_invariances(const OpenExecutor& open);

/// Greedy decoding through `last_sample` takes the largest logit of each step.
void check_decoding(const OpenExecutor& open);

/// Slots share what was copied, and each goes on by itself; retired ones hold no memory.
void check_slots(const OpenExecutor& open, const Tolerances& tolerances);

/// Parameters that do not fit, and steps before bind.
void check_refusals(const OpenExecutor& open);


}  // namespace cidery::test
