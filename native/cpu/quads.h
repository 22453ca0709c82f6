#pragma once

#include <cstdint>

#include "load/tensor_source.h"

/// Codes out of the words and blocks of files, four to a 32-bit word (the first in the low byte):
/// 8 words are the codes of 32 inputs.
namespace cidery::cpu {

inline constexpr uint32_t quads = 8;

/// MLX's packed words: code i of `bits` bits at bit i * bits. `at` is where a group of 32 begins.
void read_stream(const uint8_t* at, uint32_t bits, uint32_t* out) noexcept;

/// Group `group` (of 32 inputs) of a GGUF block. Signed codes come with their zero added: 8 for
/// Q4_0, 16 for Q5_0, 128 for Q8_0, 4 for Q3_K, 32 for Q6_K.
void read_block(load::Format format, const uint8_t* block, uint32_t group, uint32_t* out) noexcept;

/// Writes lane `lane` of the planes (pack.h) of codes of `bits` bits.
void write_planes(uint32_t bits, const uint32_t* codes, uint32_t lane, uint8_t* planes) noexcept;

/// Scale and minimum (6 bits each) of group 0 to 7 of a Q4_K or Q5_K block's 12 bytes.
struct ScaleMinimum {
  uint8_t scale, minimum;
};
ScaleMinimum read_scale_minimum(const uint8_t* packed, uint32_t group) noexcept;

/// Scale (-32 to 31) of group 0 to 15 of a Q3_K block's 12 bytes.
int8_t read_q3_scale(const uint8_t* packed, uint32_t group) noexcept;

}  // namespace cidery::cpu
