#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/slab.h"
#include "cpu/bind.h"
#include "cpu/kernels.h"
#include "cpu/kv.h"
#include "cpu/ops/greedy_head.h"
#include "cpu/ops/sampling.h"
#include "cpu/ops/split_head.h"
#include "cpu/pass.h"
#include "cpu/pool.h"
#include "cpu/weights.h"
#include "program/executor.h"
#include "program/slot_history.h"

namespace cidery::cpu {

/// Runs a program on our own kernels. A sequence's logits have the same bits whatever else is in a
/// step, however its prompt is cut, on any number of threads and any instruction set; in precise
/// mode also on any number of ranks, in the other one on those of a pipeline.
class CpuExecutor final : public program::Executor {
 public:
  CpuExecutor(program::Program program, const program::ExecutorOptions& options,
              const Kernels& kernels);

  void load(const load::ParameterSource& source, const load::FileSet& files) override;
  void join(std::unique_ptr<group::Group> group) override;
  void bind() override;
  Status step(const program::StepPlan& plan, program::StepResult& result) noexcept override;
  uint32_t depth() const noexcept override;
  Status begin(program::StepPlan plan) noexcept override;
  Status finish(program::StepResult& result) noexcept override;
  program::MemoryUse memory() const noexcept override;

 private:
  /// A step whose first half has run: what its second half needs.
  struct BegunStep {
    program::StepPlan plan;
    std::vector<WantedRow> wanted;   // of all passes
    std::vector<size_t> pass_ends;   // in `wanted`
    std::vector<std::vector<uint32_t>> histories;  // of the sequences that look back
  };

  Status check_ready(const program::StepPlan* plan) const;
  template <class Work>
  Status guarded(Work&& work) noexcept;
  Status run_step(const program::StepPlan& plan, program::StepResult& result);
  Status run_first_half(BegunStep& step);
  Status run_second_half(BegunStep& step, program::StepResult& result);
  bool apply_slots(const program::StepPlan& plan) noexcept;
  void prepare_result(const program::StepPlan& plan, program::StepResult& result) const;
  template <class RunPass>
  Status run_passes(const program::StepPlan& plan, RunPass&& run_pass);
  void append_rows(const program::PlannedSequence& sequence, uint32_t index, uint32_t from,
                   uint32_t count, std::span<const uint32_t> tokens);
  Status run_regions(size_t begin, size_t end);
  Status run_head(const Draws& draws, program::StepResult& result);
  std::span<const Largest> run_head_products(const Tools& tools, const Draws& draws,
                                             uint32_t from, uint32_t count);

  std::unique_ptr<group::Group> group_;  // goes last: regions refer to it
  program::Program program_;
  const program::ExecutorOptions options_;
  const Kernels& kernels_;
  Pool pool_;
  Weights weights_;
  Arena arena_;  // activations
  program::SlotHistory history_;
  std::optional<BlockCache> cache_;  // made by bind, as what follows
  std::optional<BoundProgram> bound_;
  std::optional<GreedyHead> greedy_head_;  // where the head is such that it serves
  std::optional<SplitHead> split_head_;  // where other ranks have parts of the head
  Pass pass_;
  std::vector<BegunStep> begun_;  // a ring of depth()
  uint32_t oldest_begun_ = 0, begun_count_ = 0;
  uint64_t peak_bytes_ = 0;  // the most that was in use at the end of a step
  bool failed_ = false;
};

}  // namespace cidery::cpu
