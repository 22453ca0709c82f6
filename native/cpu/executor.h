#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/slab.h"
#include "cpu/bind.h"
#include "cpu/kernels.h"
#include "cpu/kv.h"
#include "cpu/pass.h"
#include "cpu/pool.h"
#include "cpu/weights.h"
#include "program/executor.h"
#include "program/slot_history.h"

namespace cidery::cpu {

/// Runs a program on our own kernels. A sequence's logits have the same bits whatever else is in a
/// step, however its prompt is cut, on any number of threads and any instruction set.
class CpuExecutor final : public program::Executor {
 public:
  CpuExecutor(program::Program program, const program::ExecutorOptions& options,
              const Kernels& kernels);

  void load(const load::ParameterSource& source, const load::FileSet& files) override;
  void bind() override;
  Status step(const program::StepPlan& plan, program::StepResult& result) noexcept override;
  program::MemoryUse memory() const noexcept override;

 private:
  bool apply_slots(const program::StepPlan& plan) noexcept;
  void prepare_result(const program::StepPlan& plan, program::StepResult& result) const;
  void run_passes(const program::StepPlan& plan, program::StepResult& result);
  void append_rows(const program::PlannedSequence& sequence, uint32_t index, uint32_t from,
                   uint32_t count, std::span<const uint32_t> tokens);
  void run_pass(const program::StepPlan& plan, program::StepResult& result);

  program::Program program_;
  const program::ExecutorOptions options_;
  const Kernels& kernels_;
  Pool pool_;
  Weights weights_;
  Arena arena_;  // activations
  program::SlotHistory history_;
  std::optional<BlockCache> cache_;  // made by bind, as what follows
  std::optional<BoundProgram> bound_;
  Pass pass_;
  uint64_t peak_bytes_ = 0;  // the most that was in use at the end of a step
  bool failed_ = false;
};

}  // namespace cidery::cpu
