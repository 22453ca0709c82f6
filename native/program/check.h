#pragma once

#include "program/program.h"

namespace cidery::program {

/// Values of a block of a GGUF format: 32, or 256 for the k-quants.
constexpr uint32_t block_length(BlockFormat format) noexcept {
  return format >= BlockFormat::q2_k && format <= BlockFormat::q6_k ? 256 : 32;
}

/// The part of decode_program that looks at meanings; see there. Throws Error `program_invalid`.
void check_program(const Program& program);

}  // namespace cidery::program
