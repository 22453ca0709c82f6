#pragma once

#include <map>
#include <memory>
#include <string>

#include "program/executor.h"

namespace cidery::addon {

/// The executors that this build holds, by name: "cpu", "mlx".
/// Throws Error `executor_unavailable` for a name that it has not; else what the executor throws.
std::unique_ptr<program::Executor> open_executor(const std::string& name,
                                                 program::Program program,
                                                 const program::ExecutorOptions& options);

/// Facts of this build: `addon`, `abi`, and of MLX, where it is linked, `mlx` and `gpu`.
/// Throws Error `addon_library_mismatch` when MLX is not the version that it was compiled against.
std::map<std::string, std::string> build_facts();

}  // namespace cidery::addon
