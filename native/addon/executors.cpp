#include "addon/executors.h"

#ifdef CIDERY_WITH_MLX
#include "mlx/backend/gpu/device_info.h"
#include "mlx/version.h"
#endif

namespace cidery::addon {
namespace {

/// Counts changes of the addon's face (src/engine/addon.ts) and of its encodings.
constexpr const char* abi = "3";

using Open = std::unique_ptr<program::Executor> (*)(program::Program,
                                                    const program::ExecutorOptions&);
struct Row {
  const char* name;
  Open open;  // null: not in this build
};

constexpr Row rows[] = {
#ifdef CIDERY_WITH_MLX
    {"mlx", program::open_mlx_executor},
#else
    {"mlx", nullptr},
#endif
#ifdef CIDERY_WITH_CPU
    {"cpu", program::open_cpu_executor},
#else
    {"cpu", nullptr},
#endif
};

}  // namespace

std::unique_ptr<program::Executor> open_executor(const std::string& name,
                                                 program::Program program,
                                                 const program::ExecutorOptions& options) {
  for (const Row& row : rows) {
    if (name == row.name && row.open != nullptr) return row.open(std::move(program), options);
  }
  throw Error("executor_unavailable", "this build of the addon holds no '" + name + "' executor");
}

std::map<std::string, std::string> build_facts() {
  std::map<std::string, std::string> facts{{"abi", abi}};
#ifdef CIDERY_WITH_MLX
  const std::string version = mlx::core::version();
  if (version != std::to_string(MLX_VERSION_MAJOR) + "." + std::to_string(MLX_VERSION_MINOR) +
                     "." + std::to_string(MLX_VERSION_PATCH)) {
    throw Error("addon_library_mismatch",
                "the addon was compiled against another MLX than " + version);
  }
#ifdef CIDERY_WITH_RING
  facts["addon"] = "ring";
#else
  facts["addon"] = "mlx";
#endif
  facts["mlx"] = version;
  facts["gpu"] = mlx::core::gpu::is_available() ? "true" : "false";
#else
  facts["addon"] = "cpu";
#endif
  return facts;
}

}  // namespace cidery::addon
