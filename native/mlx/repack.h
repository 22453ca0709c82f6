#pragma once

#include <span>

#include "mlx/weight.h"

namespace cidery::mlx {

/// A GGUF block tensor of `shape` (rows of whole blocks) in MLX's storage: affine groups of 32
/// where they hold the format exactly, mxfp4 for MXFP4, else dequantized. Scales and biases stay
/// f32, for f16 and bf16 cannot hold the products of two scales that k-quants have; MLX then
/// computes with them in f32 also where activations have 16 bits.
Weight::Storage repack_blocks(load::Format format, std::span<const std::byte> blocks,
                              const mx::Shape& shape, mx::Dtype dense_dtype);

/// The same, always dequantized.
mx::array dequantize_blocks(load::Format format, std::span<const std::byte> blocks,
                            const mx::Shape& shape);

/// Writes words of `bits` bits one after another, lowest bit first: MLX's packing for every width.
void pack_words(std::span<const uint8_t> words, uint32_t bits, std::byte* out) noexcept;

}  // namespace cidery::mlx
