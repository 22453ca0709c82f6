#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "load/tensor_source.h"

/// The block formats of GGUF files: a block is a run of values along a row that shares its scales
/// (load/format.h has the sizes). All functions want whole blocks and room for just the values that
/// they hold; they throw Error `parameter_mismatch` otherwise.
namespace cidery::load {

float half_to_float(uint16_t bits) noexcept;

/// The values in f32, equal in every bit to those of the `gguf` package's `dequantize` (PyPI,
/// quants.py).
void dequantize(Format format, std::span<const std::byte> blocks, std::span<float> values);

/// 32 values of a format whose groups are affine: value = scale * word + bias, exactly but for the
/// last rounding.
struct AffineGroup {
  static constexpr uint32_t values = 32;
  std::array<uint8_t, values> words;  // below 2^affine_bits
  float scale = 0;
  float bias = 0;
};

/// Bits of a word in Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K and Q5_K; 0 for formats that are not affine
/// in groups of 32.
uint32_t affine_bits(Format format) noexcept;

/// The words, scale and bias of each group in turn; `groups` has one entry for 32 values.
void split_affine(Format format, std::span<const std::byte> blocks, std::span<AffineGroup> groups);

/// 32 values of MXFP4: 4-bit floats (code 0 to 7: 0, 0.5, 1, 1.5, 2, 3, 4, 6; 8 to 15: the same,
/// negative) times 2^(exponent - 127).
struct FloatGroup {
  static constexpr uint32_t values = 32;
  std::array<uint8_t, values> codes;
  uint8_t exponent = 0;
};

/// The codes and exponent of each MXFP4 block.
void split_mxfp4(std::span<const std::byte> blocks, std::span<FloatGroup> groups);

}  // namespace cidery::load
