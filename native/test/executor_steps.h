#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "program/executor.h"
#include "test/tiny_model.h"

/// Steps of an executor, as tests write them.
namespace cidery::test {

using Tokens = std::vector<uint32_t>;
using Logits = std::vector<float>;
using OpenExecutor = std::function<std::unique_ptr<program::Executor>(
    program::Program, const program::ExecutorOptions&)>;

inline constexpr uint32_t test_slots = 8, test_positions = 2048;

/// Opens an executor with `test_slots` slots of `test_positions`, or as `options` say, loads the
/// model and binds.
std::unique_ptr<program::Executor> open_model(const OpenExecutor& open, const TinyModel& model,
                                              program::ExecutorOptions options = {
                                                  .slots = test_slots,
                                                  .positions = test_positions});

program::PlannedSequence sequence(uint32_t slot, uint32_t first, Tokens tokens, program::Want want);
/// Goes on, greedily, with the token that the slot's last step drew.
program::PlannedSequence last_sample(uint32_t slot, uint32_t first);

/// Runs a step, which must succeed.
program::StepResult step(program::Executor& executor, const program::StepPlan& plan);
program::StepResult step(program::Executor& executor,
                         std::vector<program::PlannedSequence> sequences);

Tokens make_tokens(size_t count, uint32_t vocabulary, uint32_t seed = 3);
Tokens part(const Tokens& tokens, size_t from, size_t count);

/// All logits of a sequence that is run in chunks of the given sizes.
Logits run_chunks(program::Executor& executor, uint32_t slot, const Tokens& tokens,
                  const std::vector<uint32_t>& chunks);

/// Largest difference in units of the logits' deviation.
double difference(const Logits& got, const std::vector<std::vector<double>>& wanted);
bool same_bits(const Logits& a, const Logits& b);

}  // namespace cidery::test
