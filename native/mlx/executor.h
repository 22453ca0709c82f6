#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "mlx/activations.h"
#include "mlx/attention.h"
#include "mlx/collectives.h"
#include "mlx/slots.h"
#include "mlx/split_head.h"
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
  void join(std::unique_ptr<group::Group> group) override;
  void bind() override;
  Status step(const program::StepPlan& plan, program::StepResult& result) noexcept override;
  uint32_t depth() const noexcept override;
  Status begin(program::StepPlan plan) noexcept override;
  Status finish(program::StepResult& result) noexcept override;
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
    std::optional<mx::array> head_in, logits;  // [selected rows, vocabulary or a part of it] f32
  };
  /// A step under way: up to what rank 0 of a pipeline sends, or to the end.
  struct Begun {
    program::StepPlan plan;
    Stream stream;
    Graph graph;
  };

  void prepare() const;
  void settle_dtype(const load::ParameterSource& source);
  void agree_with_ranks();
  template <class Work>
  Status guarded(Work&& work) noexcept;
  Begun run_first_half(program::StepPlan plan);
  void run_second_half(Begun& step, program::StepResult& result);
  void run_operations(Begun& step, size_t begin, size_t end);
  Stream make_stream(const program::StepPlan& plan);
  void apply_slots(const program::StepPlan& plan);
  void evaluate(const Stream& stream, const std::optional<mx::array>& logits) const;
  /// Rows of logits that a sequence wants: its last.
  static uint32_t wanted_rows(const program::PlannedSequence& sequence) noexcept;
  void collect(const Begun& step, program::StepResult& result);
  void collect_rows(const program::PlannedSequence& sequence, std::span<float> rows,
                    const LargestLogit* known, program::SequenceResult& entry);
  void give_up() noexcept;

  void run_operation(const program::Embed& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Norm& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Linear& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Attention& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Activate& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Add& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Select& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Head& op, const Stream& stream, Graph& graph);
  void run_operation(const program::AllSum& op, const Stream& stream, Graph& graph);
  void run_operation(const program::AllGather& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Send& op, const Stream& stream, Graph& graph);
  void run_operation(const program::Receive& op, const Stream& stream, Graph& graph);

  const Weight& weight(uint32_t index) const { return *weights_[index]; }
  const Weight* optional_weight(uint32_t index) const {
    return index == program::none ? nullptr : &*weights_[index];
  }

  program::Program program_;
  size_t second_half_;  // where it begins on rank 0 of a pipeline; else the end
  mx::Device device_;
  bool precise_;
  std::optional<Compute> compute_;  // settled by the first parameter
  std::vector<std::optional<Weight>> weights_;
  std::vector<std::optional<mx::array>> frequencies_;  // of each rope
  std::optional<Slots> slots_;                         // made by bind
  uint32_t slot_count_, positions_;
  program::SlotHistory history_;
  std::unique_ptr<group::Group> group_;
  std::optional<Collectives> collectives_;
  std::optional<SplitHead> split_head_;
  std::deque<Begun> begun_;
  bool failed_ = false;
};

}  // namespace cidery::mlx
