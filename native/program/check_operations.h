#pragma once

#include "program/program.h"

namespace cidery::program {

/// Checks the operations of a program whose tables (buffers, parameters, ropes, caches) have been
/// checked: every index and column in range, nothing read before it is written, widths, domains and
/// shapes that fit, nothing declared that no operation uses. Throws Error `program_invalid`.
void check_operations(const Program& program);

}  // namespace cidery::program
