#pragma once

#include <cstdint>
#include <optional>

#include "mlx/loaded_array.h"
#include "program/program.h"

namespace cidery::mlx {

/// Rotates x [1, heads, n, width], whose rows stand at positions first, first + 1 …, as
/// program::Rope says; `frequencies` are those of the rope, where it has them.
mx::array rotate(const program::Rope& rope, const std::optional<mx::array>& frequencies,
                 const mx::array& x, uint32_t first);

}  // namespace cidery::mlx
