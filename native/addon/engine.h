#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "group/group.h"
#include "load/tensor_source.h"
#include "program/executor.h"

namespace cidery::addon {

/// What an engine is opened with; the program is decoded and checked.
struct EngineSetup {
  program::Program program;
  std::string executor;
  program::ExecutorOptions options;
  std::vector<std::string> files;
};

/// One executor with its files, the state of its slots, and the group of ranks that it belongs to.
/// Knows no JavaScript. All calls but `memory`, `steps_done` and `leave` come from one thread, the
/// step thread, `open` first and `free` last. In a group, rank 0 begins steps and tells the others
/// what each is; they follow. A group or a step that fails is the end of the engine, and of the
/// group on every rank.
class Engine {
 public:
  /// Opens the files. Throws Error `model_file_missing`.
  explicit Engine(EngineSetup setup);

  /// Throws Error `executor_unavailable`, `device_unavailable`.
  void open();
  /// Throws Error `engine_state` after `bind`, `arguments_invalid`, and what reading files throws.
  void load(const std::vector<load::ParameterSource>& sources);
  /// Connects to the other ranks of the program, before `bind`. Throws Error `engine_state`, what
  /// open_group throws.
  void join(const std::string& backend, std::unique_ptr<group::Listener> listener,
            const group::GroupOptions& options);
  /// All ranks at the same time. Throws Error `engine_state` the second time or where ranks are
  /// missing, `parameter_missing`, `rank_disagrees` where they were opened with other settings, a
  /// group's code.
  void bind();

  /// Begins a step. Earlier ones are finished first where it needs what they draw. Throws Error
  /// `engine_state` before `bind` and on a rank that follows, `plan_invalid` (nothing has happened
  /// then), `engine_broken` after a step that failed.
  void begin(std::span<const std::byte> plan);
  /// The encoded result of the oldest step that was begun. Throws Error with its code.
  std::vector<std::byte> finish();
  /// Whether the oldest step has its result already.
  bool settled() const noexcept { return !outcomes_.empty(); }
  /// Whether a step has to be finished before another begins.
  bool full() const noexcept { return outcomes_.size() + flying_.size() >= executor_->depth(); }

  /// Ranks above 0: makes the steps that rank 0 tells, until it says that there are no more. Throws
  /// Error `engine_state`, a failing step's code, a group's code, `engine_closed` after `leave`.
  void follow();
  /// From any thread: a rank above 0 ends its part in the group; `follow` returns.
  void leave() noexcept;
  /// Rank 0 of a whole group tells the others first that there are no more steps.
  void free() noexcept;

  /// As it was after the last call. From any thread.
  program::MemoryUse memory() const;
  /// Steps that are finished. From any thread.
  uint64_t steps_done() const noexcept { return steps_done_.load(std::memory_order_relaxed); }

 private:
  /// A step that the executor has begun: the slots for which it draws.
  struct Flight {
    std::vector<uint32_t> draws;
  };
  struct Outcome {
    Status status;
    std::vector<std::byte> result;
  };

  bool leads() const noexcept { return rank_ == 0; }
  void expect_whole() const;
  void resolve_draws(program::StepPlan& plan);
  bool draws(uint32_t slot) const noexcept;
  void launch(program::StepPlan plan);
  void settle_oldest();
  Outcome outcome_of(Status status, const program::StepResult& result);
  Status follow_one(std::span<const std::byte> bytes);
  bool has_left() const;
  void remember_memory();
  [[noreturn]] void fail(Status status);
  void end_group(const Status& status) noexcept;

  const uint32_t vocabulary_, rank_, ranks_;
  const size_t parameters_;
  const program::PlanLimits limits_;
  std::optional<EngineSetup> setup_;  // until open
  load::FileSet files_;
  std::unique_ptr<program::Executor> executor_;
  std::vector<program::SlotState> slots_;
  std::vector<uint32_t> drawn_;  // in a group: the last token of each slot
  std::deque<Flight> flying_;
  std::deque<Outcome> outcomes_;  // of the oldest steps
  bool bound_ = false;
  Status broken_;
  std::atomic<uint64_t> steps_done_{0};
  mutable std::mutex mutex_;  // over what follows
  program::MemoryUse memory_;
  group::Group* group_ = nullptr;  // the executor's
  bool left_ = false;
};

}  // namespace cidery::addon
