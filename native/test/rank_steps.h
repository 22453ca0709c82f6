#pragma once

#include <functional>
#include <string>
#include <vector>

#include "program/executor.h"
#include "test/executor_steps.h"
#include "test/rank_model.h"

/// Steps of several ranks, each a thread of the test.
namespace cidery::test {

/// What a rank does otherwise than it should; the default is nothing.
struct RankFault {
  uint32_t rank = program::none;
  std::function<void(RankModel&, program::ExecutorOptions&)> change = [](auto&, auto&) {};
  size_t leaves_before_step = SIZE_MAX;
};

struct RankRun {
  std::vector<program::StepResult> results;  // of rank 0
  std::vector<Status> ends;                  // of each rank: its first failure, or ok
};

/// Cuts a model for each rank.
using Split = std::function<RankModel(uint32_t rank)>;

/// Runs the plans on `ranks` ranks: rank 0 begins as many steps as it may before it finishes the
/// first, the others run one after the other, with plans that say what a follower needs to know. A
/// rank that fails leaves the group.
RankRun run_ranks(const OpenExecutor& open, const TinyModel& model, uint32_t ranks,
                  const Split& split, const std::vector<program::StepPlan>& plans,
                  const RankFault& fault = {});

/// A plan as ranks above 0 get it.
program::StepPlan follower_plan(program::StepPlan plan);

/// Whether two steps brought the same, to the bit.
bool same_results(const program::StepResult& a, const program::StepResult& b);

}  // namespace cidery::test
