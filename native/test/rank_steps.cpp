#include "test/rank_steps.h"

#include <bit>
#include <thread>

namespace cidery::test {

using program::SequenceResult;
using program::StepPlan;
using program::StepResult;

namespace {

/// One rank from joining to its last step.
class RankThread {
 public:
  RankThread(program::Executor& executor, const std::vector<StepPlan>& plans, size_t leaves_before)
      : executor_(executor), plans_(plans), leaves_before_(leaves_before) {}

  Status follow() {
    StepResult result;
    for (size_t i = 0; i < plans_.size() && i != leaves_before_; ++i) {
      Status status = executor_.step(follower_plan(plans_[i]), result);
      if (!status.ok()) return status;
      if (!result.sequences.empty()) return {"test", "a follower has results"};
    }
    return {};
  }

  Status lead(std::vector<StepResult>& results) {
    const size_t depth = executor_.depth();
    size_t begun = 0;
    for (size_t i = 0; i < plans_.size() && i != leaves_before_; ++i) {
      StepResult& result = results.emplace_back();
      Status status;
      for (; depth > 1 && status.ok() && begun < plans_.size() && begun < i + depth; ++begun) {
        status = executor_.begin(plans_[begun]);
      }
      if (status.ok()) {
        status = depth > 1 ? executor_.finish(result) : executor_.step(plans_[i], result);
      }
      if (!status.ok()) {
        results.pop_back();
        return status;
      }
    }
    return {};
  }

 private:
  program::Executor& executor_;
  const std::vector<StepPlan>& plans_;
  const size_t leaves_before_;
};

}  // namespace

StepPlan follower_plan(StepPlan plan) {
  for (program::PlannedSequence& sequence : plan.sequences) {
    if (sequence.want == program::Want::sample && !program::is_greedy(sequence.sampler)) {
      sequence.want = program::Want::logits;
    }
    sequence.sampler = {};
  }
  return plan;
}

RankRun run_ranks(const OpenExecutor& open, const TinyModel& model, uint32_t ranks,
                  const Split& split, const std::vector<StepPlan>& plans, const RankFault& fault) {
  RankRun run;
  run.ends.resize(ranks);
  auto groups = group::open_local(ranks);
  // Ranks that are done stay until all are: others may still wait for what they sent.
  std::vector<std::unique_ptr<program::Executor>> done(ranks);
  std::vector<std::thread> threads;
  const load::FileSet files({model.path()});
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      RankModel part = split(rank);
      program::ExecutorOptions options{.slots = test_slots, .positions = test_positions};
      const bool faulty = fault.rank == rank;
      if (faulty) fault.change(part, options);
      // Gone with this scope: the others must not wait for a rank that has failed.
      std::unique_ptr<group::Group> group = std::move(groups[rank]);
      try {
        auto executor = open(part.program, options);
        for (const auto& source : part.sources) executor->load(source, files);
        if (ranks > 1) executor->join(std::move(group));
        executor->bind();
        RankThread thread(*executor, plans, faulty ? fault.leaves_before_step : SIZE_MAX);
        run.ends[rank] = rank == 0 ? thread.lead(run.results) : thread.follow();
        const bool leaves = faulty && fault.leaves_before_step != SIZE_MAX;
        if (run.ends[rank].ok() && !leaves) done[rank] = std::move(executor);
      } catch (const Error& error) {
        run.ends[rank] = {error.code(), error.what()};
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return run;
}

bool same_results(const StepResult& a, const StepResult& b) {
  if (a.number != b.number || a.sequences.size() != b.sequences.size()) return false;
  const auto bits = [](float value) { return std::bit_cast<uint32_t>(value); };
  for (size_t i = 0; i < a.sequences.size(); ++i) {
    const SequenceResult &one = a.sequences[i], &other = b.sequences[i];
    if (one.slot != other.slot || one.sampled != other.sampled || one.finite != other.finite ||
        one.token != other.token || bits(one.logprob) != bits(other.logprob) ||
        one.alternatives.size() != other.alternatives.size() ||
        !same_bits(one.logits, other.logits)) {
      return false;
    }
    for (size_t j = 0; j < one.alternatives.size(); ++j) {
      if (one.alternatives[j].token != other.alternatives[j].token ||
          bits(one.alternatives[j].logprob) != bits(other.alternatives[j].logprob)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace cidery::test
