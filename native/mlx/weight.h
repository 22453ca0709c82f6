#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "mlx/loaded_array.h"
#include "program/program.h"

/// A loaded parameter, whatever its storage.
namespace cidery::mlx {

/// [rows, columns], or a vector.
struct DenseWeight {
  mx::array values;
};

/// MLX's affine storage: `words` [rows, columns * bits / 32], one scale and bias a group of
/// columns.
struct AffineWeight {
  mx::array words, scales, biases;
  int bits = 0, group = 0;
};

/// MLX's mxfp4 storage: 8 codes a word, one exponent for 32 columns.
struct Mxfp4Weight {
  mx::array words, scales;
};

class Weight {
 public:
  using Storage = std::variant<DenseWeight, AffineWeight, Mxfp4Weight>;
  explicit Weight(Storage storage) : storage_(std::move(storage)) {}

  /// x [T, columns] times the weight's transpose: [T, rows], in the type of x.
  mx::array matmul(const mx::array& x) const;
  /// Rows `tokens` [T] of the weight in type `dtype`: [T, columns].
  mx::array lookup(const mx::array& tokens, mx::Dtype dtype) const;
  /// A vector's values: norm weights, biases, sinks. Throws std::logic_error for quantized storage.
  const mx::array& vector() const;

  uint64_t size_bytes() const noexcept;
  uint32_t array_count() const noexcept;

 private:
  Storage storage_;
};

/// What arithmetic is done in.
struct Compute {
  bool cpu = true;
  mx::Dtype dtype = mx::float32;
};

/// Reads a parameter and packs it for MLX; raw bytes and intermediate arrays are gone when it
/// returns. Throws Error `parameter_mismatch` when the parts do not fit the declared storage and
/// shape.
Weight load_weight(const program::Parameter& parameter, const load::ParameterSource& source,
                   const load::FileSet& files, const Compute& compute);

}  // namespace cidery::mlx
