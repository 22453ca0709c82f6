#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "load/tensor_source.h"
#include "mlx/mlx.h"

/// Bytes of a model's files as MLX arrays. No header of this folder may be named like one of the
/// library's (array.h, ops.h …): both are included as "mlx/NAME".
namespace cidery::mlx {

namespace mx = ::mlx::core;

/// An array of MLX's own memory with nothing in it yet; `bytes` gives access for filling.
mx::array allocate(mx::Shape shape, mx::Dtype dtype);
std::span<std::byte> bytes(mx::array& array);
std::span<float> floats(mx::array& array);

/// A shape as MLX has it. Throws Error `parameter_mismatch` for an empty dimension, one beyond
/// 2^31 - 1, or more than 2^48 elements.
mx::Shape to_shape(std::span<const uint32_t> shape);
uint64_t element_count(const mx::Shape& shape) noexcept;

/// F32, F16, BF16, and the unsigned words of quantized storage; nothing for other formats.
std::optional<mx::Dtype> plain_dtype(load::Format format) noexcept;

/// A part of plain format as it lies in the file, read straight into MLX's memory.
mx::array read_array(const load::Part& part, const load::FileSet& files);

/// `array` in `dtype`, computed now, so that what it came from can go.
mx::array convert(const mx::array& array, mx::Dtype dtype);

}  // namespace cidery::mlx
