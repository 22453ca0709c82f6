#pragma once

#include <cstddef>
#include <cstdint>

/// Matrix products in f32 on one core. Each element of a product is one sum in ascending order of
/// k, so that a row's bits depend neither on the other rows nor on how the operands lie in memory.
namespace cidery::mlx {

/// Columns of the right operand that are multiplied at a time.
inline constexpr int panel_columns = 16;
/// Most rows of a panel: 32 KiB, a first-level cache.
inline constexpr int panel_depth = 512;

/// A left operand: element (row, k) lies at data[row * row_stride + k * depth_stride].
struct LeftOperand {
  const float* data;
  ptrdiff_t row_stride, depth_stride;
};

/// A right operand [k, n], whatever its storage, unpacked panel by panel.
class RightOperand {
 public:
  virtual ~RightOperand() = default;
  /// Writes rows [depth_start, depth_start + depth) of columns [column, column + columns), columns
  /// <= panel_columns, to panel [depth][panel_columns]; columns that are not there become 0. Calls
  /// start at multiples of panel_depth.
  virtual void fill(int column, int columns, int depth_start, int depth, float* panel) const = 0;
};

/// c = alpha * a * b + beta * c, with a [m, k], b [k, n], c [m, n] in rows of `c_stride`; where
/// beta is 0, c need not hold numbers.
void multiply(int m, int n, int k, const LeftOperand& a, const RightOperand& b, float alpha,
              float beta, float* c, ptrdiff_t c_stride);

/// Whether the processor has AVX2 and FMA, and the panels of this file are made with them.
bool has_avx2() noexcept;

/// Writes 16 rows of `depth` floats that lie `stride` apart as panel [depth][panel_columns].
void transpose_panel(const float* rows, ptrdiff_t stride, int columns, int depth, float* panel);

}  // namespace cidery::mlx
