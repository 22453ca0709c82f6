#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
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
  /// Call once when all are loaded. Throws Error `parameter_missing` with the first path that was
  /// not.
  virtual void bind() = 0;
  /// One step. The result is complete or the status says why not; after a failure the executor is
  /// not used again.
  virtual Status step(const StepPlan& plan, StepResult& result) noexcept = 0;
  virtual MemoryUse memory() const noexcept = 0;
};

/// The same program as MLX operations (native/mlx). Throws Error `device_unavailable`.
std::unique_ptr<Executor> open_mlx_executor(Program program, const ExecutorOptions& options);
/// Our own kernels (native/cpu).
std::unique_ptr<Executor> open_cpu_executor(Program program, const ExecutorOptions& options);

}  // namespace cidery::program
