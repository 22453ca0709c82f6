#include "mlx/sgemm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cidery::mlx {
namespace {

/// Rows of a tile: with two registers of columns a row and AVX2's 16 registers, the most that stay
/// in registers.
constexpr int tile_rows = 6;

/// Sums so far of `tile_rows` rows, carried from one panel to the next.
using Sums = float[panel_columns];

inline float fused(float a, float b, float c) {
#if defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

template <int rows>
void tile_plain(const LeftOperand& a, int depth, const float* panel, Sums* sums) {
  for (int k = 0; k < depth; ++k) {
    for (int r = 0; r < rows; ++r) {
      const float left = a.data[r * a.row_stride + k * a.depth_stride];
      for (int i = 0; i < panel_columns; ++i) {
        sums[r][i] = fused(left, panel[k * panel_columns + i], sums[r][i]);
      }
    }
  }
}

using Tile = void (*)(const LeftOperand&, int, const float*, Sums*);

#if defined(__x86_64__)
template <int rows>
__attribute__((target("avx2,fma"))) void tile_avx2(const LeftOperand& a, int depth,
                                                   const float* panel, Sums* sums) {
  __m256 low[rows], high[rows];
  for (int r = 0; r < rows; ++r) {
    low[r] = _mm256_loadu_ps(sums[r]);
    high[r] = _mm256_loadu_ps(sums[r] + 8);
  }
  const float* left = a.data;
  for (int k = 0; k < depth; ++k, left += a.depth_stride, panel += panel_columns) {
    const __m256 b_low = _mm256_loadu_ps(panel), b_high = _mm256_loadu_ps(panel + 8);
    for (int r = 0; r < rows; ++r) {
      const __m256 value = _mm256_broadcast_ss(left + r * a.row_stride);
      low[r] = _mm256_fmadd_ps(value, b_low, low[r]);
      high[r] = _mm256_fmadd_ps(value, b_high, high[r]);
    }
  }
  for (int r = 0; r < rows; ++r) {
    _mm256_storeu_ps(sums[r], low[r]);
    _mm256_storeu_ps(sums[r] + 8, high[r]);
  }
}

/// Eight rows of eight floats, `stride` apart, as columns of a panel.
__attribute__((target("avx2,fma"))) void transpose_eight(const float* rows, ptrdiff_t stride,
                                                         float* panel) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(rows + i * stride);
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(panel + i * panel_columns, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(panel + (i + 4) * panel_columns,
                     _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

constexpr std::array<Tile, tile_rows> avx2_tiles = {tile_avx2<1>, tile_avx2<2>, tile_avx2<3>,
                                                    tile_avx2<4>, tile_avx2<5>, tile_avx2<6>};
#endif
constexpr std::array<Tile, tile_rows> plain_tiles = {tile_plain<1>, tile_plain<2>, tile_plain<3>,
                                                     tile_plain<4>, tile_plain<5>, tile_plain<6>};

const std::array<Tile, tile_rows>& tiles() {
#if defined(__x86_64__)
  if (has_avx2()) return avx2_tiles;
#endif
  return plain_tiles;
}

/// A right operand of floats: element (k, column) lies at data[k * depth_stride + column *
/// column_stride].
class FloatOperand final : public RightOperand {
 public:
  FloatOperand(const float* data, ptrdiff_t depth_stride, ptrdiff_t column_stride)
      : data_(data), depth_stride_(depth_stride), column_stride_(column_stride) {}

  void fill(int column, int columns, int depth_start, int depth, float* panel) const override {
    const float* from = data_ + depth_start * depth_stride_ + column * column_stride_;
    if (depth_stride_ == 1) return transpose_panel(from, column_stride_, columns, depth, panel);
    for (int k = 0; k < depth; ++k, panel += panel_columns) {
      for (int i = 0; i < columns; ++i) panel[i] = from[k * depth_stride_ + i * column_stride_];
      std::fill(panel + columns, panel + panel_columns, 0.0f);
    }
  }

 private:
  const float* data_;
  ptrdiff_t depth_stride_, column_stride_;
};

void store(const Sums* sums, int m, int columns, float alpha, float beta, float* c,
           ptrdiff_t c_stride) {
  for (int row = 0; row < m; ++row, c += c_stride) {
    for (int i = 0; i < columns; ++i) {
      const float value = alpha * sums[row][i];
      c[i] = beta == 0 ? value : value + beta * c[i];
    }
  }
}

}  // namespace

bool has_avx2() noexcept {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
#else
  return false;
#endif
}

void transpose_panel(const float* rows, ptrdiff_t stride, int columns, int depth, float* panel) {
  int k = 0;
#if defined(__x86_64__)
  if (has_avx2() && columns == panel_columns) {
    for (; k + 8 <= depth; k += 8) {
      transpose_eight(rows + k, stride, panel + k * panel_columns);
      transpose_eight(rows + k + 8 * stride, stride, panel + k * panel_columns + 8);
    }
  }
#endif
  for (; k < depth; ++k) {
    float* out = panel + k * panel_columns;
    for (int i = 0; i < columns; ++i) out[i] = rows[i * stride + k];
    std::fill(out + columns, out + panel_columns, 0.0f);
  }
}

void multiply(int m, int n, int k, const LeftOperand& a, const RightOperand& b, float alpha,
              float beta, float* c, ptrdiff_t c_stride) {
  const auto panel = std::make_unique_for_overwrite<float[]>(panel_depth * panel_columns);
  const auto sums = std::make_unique_for_overwrite<Sums[]>(static_cast<size_t>(m));
  const auto& by_rows = tiles();
  for (int column = 0; column < n; column += panel_columns) {
    const int columns = std::min(panel_columns, n - column);
    std::fill_n(&sums[0][0], static_cast<size_t>(m) * panel_columns, 0.0f);
    for (int start = 0; start < k; start += panel_depth) {
      const int depth = std::min(panel_depth, k - start);
      b.fill(column, columns, start, depth, panel.get());
      for (int row = 0; row < m; row += tile_rows) {
        const LeftOperand part{a.data + row * a.row_stride + start * a.depth_stride, a.row_stride,
                               a.depth_stride};
        const int rows = std::min(tile_rows, m - row);
        by_rows[static_cast<size_t>(rows - 1)](part, depth, panel.get(), &sums[row]);
      }
    }
    store(sums.get(), m, columns, alpha, beta, c + column, c_stride);
  }
}

}  // namespace cidery::mlx

#if !defined(__APPLE__)
/// Stands in for the reference BLAS that MLX's Linux wheels bring (about 6 GFLOP/s): our addon
/// comes before libmlx in the order of symbol lookup, so MLX's own products call this. Row major
/// 101, column major 102; 111 is not transposed. On macOS MLX uses Accelerate.
extern "C" __attribute__((visibility("default"))) void cblas_sgemm(
    int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float* a,
    int a_stride, const float* b, int b_stride, float beta, float* c, int c_stride) {
  constexpr int row_major = 101, not_transposed = 111;
  if (order != row_major) {
    std::swap(transpose_a, transpose_b);
    std::swap(m, n);
    std::swap(a, b);
    std::swap(a_stride, b_stride);
  }
  const bool plain_a = transpose_a == not_transposed, plain_b = transpose_b == not_transposed;
  using cidery::mlx::FloatOperand;
  cidery::mlx::multiply(m, n, k, {a, plain_a ? a_stride : 1, plain_a ? 1 : a_stride},
                        FloatOperand(b, plain_b ? b_stride : 1, plain_b ? 1 : b_stride), alpha,
                        beta, c, c_stride);
}
#endif
