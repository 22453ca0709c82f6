#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cpu/kernels.h"

namespace cidery::cpu {

/// The names of the instruction sets that this build and this processor have, best first; the last
/// is `plain`.
std::vector<std::string_view> possible_sets();

/// The table of the set `name`; empty: the best one. Sets that no test has run (docs/engine.md) are
/// compared with the plain one first, and passed over where a bit differs. Throws Error
/// `isa_unsupported` that names those possible.
const Kernels& choose_kernels(std::string_view name);

/// choose_kernels of the environment variable CIDERY_ISA.
const Kernels& kernels_from_environment();

}  // namespace cidery::cpu
