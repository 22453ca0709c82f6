#include "addon/engine.h"

#include "addon/executors.h"

namespace cidery::addon {

Engine::Engine(EngineSetup setup)
    : vocabulary_(setup.program.vocabulary),
      parameters_(setup.program.parameters.size()),
      limits_{setup.options.slots, setup.options.positions, setup.program.vocabulary},
      setup_(std::move(setup)),
      files_(setup_->files),
      slots_(limits_.slots) {}

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

void Engine::bind() {
  if (bound_) throw Error("engine_state", "the engine is bound already");
  executor_->bind();
  bound_ = true;
  remember_memory();
}

std::vector<std::byte> Engine::step(std::span<const std::byte> plan) {
  if (!bound_) throw Error("engine_state", "a step runs after bind");
  if (!broken_.ok()) {
    throw Error("engine_broken", "an earlier step failed: " + broken_.message);
  }
  const program::StepPlan decoded = program::decode_plan(plan, limits_, slots_);
  // From here on the slots are as the plan leaves them: without its result they are lost.
  broken_ = {"engine_broken", "its result did not fit into memory"};
  program::StepResult result;
  const Status status = executor_->step(decoded, result);
  remember_memory();
  if (!status.ok()) {
    broken_ = status;
    throw Error(status.code, status.message);
  }
  std::vector<std::byte> encoded = program::encode_result(result, vocabulary_);
  broken_ = {};
  return encoded;
}

void Engine::free() noexcept {
  executor_.reset();
  const std::lock_guard lock(memory_mutex_);
  memory_ = {};
}

program::MemoryUse Engine::memory() const {
  const std::lock_guard lock(memory_mutex_);
  return memory_;
}

void Engine::remember_memory() {
  const program::MemoryUse now = executor_->memory();
  const std::lock_guard lock(memory_mutex_);
  memory_ = now;
}

}  // namespace cidery::addon
