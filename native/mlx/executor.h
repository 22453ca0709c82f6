#pragma once

#include <optional>
#include <span>
#include <vector>

#include "mlx/activations.h"
#include "mlx/attention.h"
#include "mlx/slots.h"
#include "mlx/weight.h"
#include "program/executor.h"
#include "program/slot_history.h"

namespace cidery::mlx {

/// Runs a program as MLX operations: tokens of all sequences are one stream, attention alone looks
/// at each sequence by itself, and a step is one evaluation of the graph that its operations built.
class MlxExecutor final : public program::Executor {
 public:
  /// Throws Error `device_unavailable`.
  MlxExecutor(program::Program program, const program::ExecutorOptions& options);
  ~MlxExecutor() override;

  void load(const load::ParameterSource& source, const load::FileSet& files) override;
  void bind() override;
  Status step(const program::StepPlan& plan,
                       program::StepResult& result) noexcept override;
  program::MemoryUse memory() const noexcept override;

 private:
  /// What a step knows before its operations run.
  struct Stream {
    std::vector<SequenceRows> sequences;
    std::vector<uint32_t> tokens;
    std::vector<uint32_t> selected;  // rows of the stream whose logits are wanted
  };
  /// What its operations leave behind.
  struct Graph {
    Activations activations;
    std::optional<mx::array> logits;  // [selected rows, vocabulary] f32
  };

  void prepare() const;
  void settle_dtype(const load::ParameterSource& source);
  void run(const program::StepPlan& plan, program::StepResult& result);
  Stream make_stream(const program::StepPlan& plan);
  void apply_slots(const program::StepPlan& plan);
  void evaluate(const Stream& stream, const std::optional<mx::array>& logits) const;
  void collect(const program::StepPlan& plan, const std::optional<mx::array>& logits,
               program::StepResult& result);
  void give_up() noexcept;

  void run_operation(const program::Embed& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Norm& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Linear& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Attention& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Activate& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Add& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Select& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Head& op, const Stream& stream, Graph& graph);

  const Weight& weight(uint32_t index) const { return *weights_[index]; }
  const Weight* optional_weight(uint32_t index) const {
    return index == program::none ? nullptr : &*weights_[index];
  }

  program::Program program_;
  mx::Device device_;
  bool precise_;
  std::optional<Compute> compute_;  // settled by the first parameter
  std::vector<std::optional<Weight>> weights_;
  std::vector<std::optional<mx::array>> frequencies_;  // of each rope
  std::optional<Slots> slots_;                         // made by bind
  uint32_t slot_count_;
  program::SlotHistory history_;
  bool failed_ = false;
};

}  // namespace cidery::mlx
