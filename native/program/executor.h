#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "group/group.h"
#include "load/tensor_source.h"
#include "program/program.h"
#include "program/step_plan.h"

namespace cidery::program {

struct ExecutorOptions {
  bool gpu = false;      // mlx: run on the GPU
  bool precise = true;   // f32 activations and caches; else the device's fast type
  uint32_t slots = 1;    // sequences that may hold positions at once
  uint32_t positions = 0;  // most positions of a slot
  uint64_t cache_positions = 0;  // cpu: of all slots together; 0 means slots * positions
  uint32_t threads = 0;  // cpu: 0 means one a core
};

struct MemoryUse {
  uint64_t weight_bytes = 0, cache_bytes = 0, active_bytes = 0, peak_bytes = 0, live_arrays = 0;
};

/// Runs a program. Every call comes from one thread, the step thread.
class Executor {
 public:
  virtual ~Executor() = default;
  /// Reads and keeps one parameter. Throws Error `parameter_mismatch` when the parts do not fit its
  /// storage and shape.
  virtual void load(const load::ParameterSource& source, const load::FileSet& files) = 0;
  /// The other ranks of a program that runs on several: once, before `bind`. Throws Error
  /// `engine_state` where the group is not the program's, `unsupported` where an executor runs on
  /// one rank alone.
  virtual void join(std::unique_ptr<group::Group> group);
  /// Call once when all are loaded. On several ranks all bind at the same time: they tell each
  /// other their parts. Throws Error `parameter_missing` with the first path that was not loaded,
  /// `rank_disagrees` where the ranks' parts do not make a model, a group's code.
  virtual void bind() = 0;
  /// One step. The result is complete or the status says why not; after a failure the executor is
  /// not used again. On several ranks all make the same steps, their plans hold literals only, and
  /// what they want beyond a sample that is_greedy is Want::logits on ranks above 0, whose results
  /// are empty. Codes beside an executor's own: `rank_disagrees` where another rank computed with
  /// other activations, a group's codes.
  virtual Status step(const StepPlan& plan, StepResult& result) noexcept = 0;
  /// Steps that may be under way at once; above 1 on rank 0 of a pipeline.
  virtual uint32_t depth() const noexcept { return 1; }
  /// The first half of a step, where `depth` is above 1: what goes to the next rank. `step` is
  /// `begin` and `finish`.
  virtual Status begin(StepPlan plan) noexcept;
  /// The second half of the oldest step that was begun: its result.
  virtual Status finish(StepResult& result) noexcept;
  virtual MemoryUse memory() const noexcept = 0;
};

/// The same program as MLX operations (native/mlx). Throws Error `device_unavailable`.
std::unique_ptr<Executor> open_mlx_executor(Program program, const ExecutorOptions& options);
/// Our own kernels (native/cpu).
std::unique_ptr<Executor> open_cpu_executor(Program program, const ExecutorOptions& options);

}  // namespace cidery::program
