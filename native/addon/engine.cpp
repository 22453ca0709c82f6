#include "addon/engine.h"

#include <algorithm>
#include <utility>

#include "addon/executors.h"
#include "addon/groups.h"
#include "program/plan_channel.h"
#include "program/plan_encoding.h"

namespace cidery::addon {
namespace {

const Status left_status{"group_peer_lost", "this rank has left the group"};

}  // namespace

Engine::Engine(EngineSetup setup)
    : vocabulary_(setup.program.vocabulary),
      rank_(setup.program.rank),
      ranks_(setup.program.ranks),
      parameters_(setup.program.parameters.size()),
      limits_{setup.options.slots, setup.options.positions, setup.program.vocabulary},
      setup_(std::move(setup)),
      files_(setup_->files),
      slots_(limits_.slots),
      drawn_(limits_.slots) {}

void Engine::open() {
  executor_ = open_executor(setup_->executor, std::move(setup_->program), setup_->options);
  setup_.reset();
  remember_memory();
}

void Engine::load(const std::vector<load::ParameterSource>& sources) {
  if (bound_) throw Error("engine_state", "parameters are loaded before bind");
  for (const load::ParameterSource& source : sources) {
    if (source.parameter >= parameters_) {
      throw Error("arguments_invalid",
                  "the program has no parameter " + std::to_string(source.parameter));
    }
    executor_->load(source, files_);
  }
  remember_memory();
}

void Engine::join(const std::string& backend, std::unique_ptr<group::Listener> listener,
                  const group::GroupOptions& options) {
  if (bound_ || group_ != nullptr) {
    throw Error("engine_state", "a group is joined once, before bind");
  }
  if (options.rank != rank_ || options.addresses.size() != ranks_) {
    throw Error("engine_state", "the program is that of rank " + std::to_string(rank_) + " of " +
                                    std::to_string(ranks_));
  }
  std::unique_ptr<group::Group> group = open_group(backend, std::move(listener), options);
  group::Group* const joined = group.get();
  executor_->join(std::move(group));
  const std::lock_guard lock(mutex_);
  group_ = joined;
  if (left_) group_->fail(left_status);
}

void Engine::bind() {
  if (bound_) throw Error("engine_state", "the engine is bound already");
  if (ranks_ > 1 && group_ == nullptr) {
    throw Error("engine_state", "the program's ranks join a group before bind");
  }
  try {
    executor_->bind();
  } catch (const Error& error) {
    end_group({error.code(), error.what()});
    throw;
  }
  bound_ = true;
  remember_memory();
}

void Engine::expect_whole() const {
  if (!bound_) throw Error("engine_state", "a step runs after bind");
  if (!broken_.ok()) {
    throw Error("engine_broken", "an earlier step failed: " + broken_.message);
  }
}

void Engine::begin(std::span<const std::byte> bytes) {
  expect_whole();
  if (!leads()) throw Error("engine_state", "rank 0 alone begins steps");
  program::StepPlan plan = program::decode_plan(bytes, limits_, slots_);
  // From here on the slots are as the plan leaves them: without its result they are lost.
  try {
    if (group_ != nullptr) {
      resolve_draws(plan);
      expect_whole();
      const Status status = program::send_plan(*group_, program::encode_follower_plan(plan));
      if (!status.ok()) fail(status);
    }
    launch(std::move(plan));
  } catch (const std::bad_alloc&) {
    fail({"out_of_memory", "no memory for a step's plan"});
  }
}

/// Other ranks know no samples: tokens that steps drew are written out.
void Engine::resolve_draws(program::StepPlan& plan) {
  for (program::PlannedSequence& sequence : plan.sequences) {
    if (sequence.source != program::TokenSource::last_sample) continue;
    while (draws(sequence.slot)) settle_oldest();
    sequence.source = program::TokenSource::literals;
    sequence.tokens = {drawn_[sequence.slot]};
  }
}

/// Whether a step that runs draws for the slot.
bool Engine::draws(uint32_t slot) const noexcept {
  return std::ranges::any_of(flying_, [slot](const Flight& flight) {
    return std::ranges::find(flight.draws, slot) != flight.draws.end();
  });
}

void Engine::launch(program::StepPlan plan) {
  Flight flight;
  for (const program::PlannedSequence& sequence : plan.sequences) {
    if (sequence.want == program::Want::sample) flight.draws.push_back(sequence.slot);
  }
  if (executor_->depth() > 1) {
    flying_.push_back(std::move(flight));
    if (Status status = executor_->begin(std::move(plan)); !status.ok()) {
      flying_.pop_back();
      fail(std::move(status));
    }
    return;
  }
  program::StepResult result;
  Status status = executor_->step(plan, result);
  outcomes_.push_back(outcome_of(std::move(status), result));
}

/// Waits for the oldest step that runs. What ended the engine meanwhile ends it, too.
void Engine::settle_oldest() {
  program::StepResult result;
  Status status = broken_.ok() ? executor_->finish(result) : broken_;
  flying_.pop_front();
  outcomes_.push_back(outcome_of(std::move(status), result));
}

Engine::Outcome Engine::outcome_of(Status status, const program::StepResult& result) {
  remember_memory();
  Outcome outcome;
  try {
    if (status.ok()) outcome.result = program::encode_result(result, vocabulary_);
  } catch (const std::bad_alloc&) {
    status = {"engine_broken", "a step's result did not fit into memory"};
  }
  if (!status.ok()) {
    if (broken_.ok()) broken_ = status;
    end_group(status);
    outcome.status = std::move(status);
    return outcome;
  }
  for (const program::SequenceResult& sequence : result.sequences) {
    // What is not finite draws nothing; its sequence has failed, and what it brings is dropped.
    drawn_[sequence.slot] = sequence.sampled ? sequence.token : 0;
  }
  steps_done_.fetch_add(1, std::memory_order_relaxed);
  return outcome;
}

std::vector<std::byte> Engine::finish() {
  if (outcomes_.empty()) settle_oldest();
  Outcome outcome = std::move(outcomes_.front());
  outcomes_.pop_front();
  if (!outcome.status.ok()) throw Error(outcome.status.code, outcome.status.message);
  return std::move(outcome.result);
}

void Engine::follow() {
  expect_whole();
  if (leads()) throw Error("engine_state", "rank 0 follows nobody");
  std::vector<std::byte> plan;
  for (;;) {
    Status status = program::receive_plan(*group_, plan);
    if (status.ok() && plan.empty()) break;
    if (status.ok()) status = follow_one(plan);
    if (has_left()) throw Error("engine_closed", "the engine was closed while it followed");
    if (!status.ok()) fail(std::move(status));
  }
  broken_ = {"engine_state", "rank 0 has left the group"};
}

Status Engine::follow_one(std::span<const std::byte> bytes) {
  try {
    const program::StepPlan plan = program::decode_plan(bytes, limits_, slots_);
    program::StepResult result;
    if (Status status = executor_->step(plan, result); !status.ok()) return status;
  } catch (const std::bad_alloc&) {
    return {"out_of_memory", "no memory for a step's plan"};
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  remember_memory();
  steps_done_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

bool Engine::has_left() const {
  const std::lock_guard lock(mutex_);
  return left_;
}

void Engine::leave() noexcept {
  if (ranks_ == 1 || leads()) return;
  const std::lock_guard lock(mutex_);
  left_ = true;
  if (group_ != nullptr) group_->fail(left_status);
}

/// The end of the engine; the others need not wait for it.
void Engine::fail(Status status) {
  if (broken_.ok()) broken_ = status;
  end_group(status);
  throw Error(status.code, status.message);
}

void Engine::end_group(const Status& status) noexcept {
  if (group_ != nullptr) group_->fail(status);
}

void Engine::free() noexcept {
  // Nothing can be done where it does not reach them: they see that the group ends.
  if (group_ != nullptr && leads() && bound_ && broken_.ok()) {
    static_cast<void>(program::send_leave(*group_));
  }
  {
    const std::lock_guard lock(mutex_);
    memory_ = {};
    group_ = nullptr;
  }
  executor_.reset();
}

program::MemoryUse Engine::memory() const {
  const std::lock_guard lock(mutex_);
  return memory_;
}

void Engine::remember_memory() {
  const program::MemoryUse now = executor_->memory();
  const std::lock_guard lock(mutex_);
  memory_ = now;
}

}  // namespace cidery::addon
