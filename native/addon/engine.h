#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

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

/// One executor with its files and the state of its slots. Knows no JavaScript. All calls but
/// `memory` come from one thread, the step thread, `open` first and `free` last.
class Engine {
 public:
  /// Opens the files. Throws Error `model_file_missing`.
  explicit Engine(EngineSetup setup);

  /// Throws Error `executor_unavailable`, `device_unavailable`.
  void open();
  /// Throws Error `engine_state` after `bind`, `arguments_invalid`, and what reading files throws.
  void load(const std::vector<load::ParameterSource>& sources);
  /// Throws Error `engine_state` the second time, `parameter_missing`.
  void bind();
  /// Decodes, runs and answers one step plan. Throws Error `engine_state` before `bind`,
  /// `plan_invalid` (nothing has happened then), `engine_broken` after a step that failed; a
  /// failing step's own code.
  std::vector<std::byte> step(std::span<const std::byte> plan);
  void free() noexcept;

  /// As it was after the last call. From any thread.
  program::MemoryUse memory() const;

 private:
  void remember_memory();

  const uint32_t vocabulary_;
  const size_t parameters_;
  const program::PlanLimits limits_;
  std::optional<EngineSetup> setup_;  // until open
  load::FileSet files_;
  std::unique_ptr<program::Executor> executor_;
  std::vector<program::SlotState> slots_;
  bool bound_ = false;
  Status broken_;
  mutable std::mutex memory_mutex_;
  program::MemoryUse memory_;
};

}  // namespace cidery::addon
