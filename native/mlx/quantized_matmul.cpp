#include "mlx/quantized_matmul.h"

#include <cstring>
#include <memory>
#include <stdexcept>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"
#include "mlx/sgemm.h"

namespace cidery::mlx {
namespace {

/// Words, scales and biases of a weight [rows, columns] in memory.
struct Packed {
  const uint8_t* words;
  const float *scales, *biases;
  int rows, columns, bits, group;
};

/// Turns the words of `count` columns, in groups with a scale and a bias each, into values.
using Unpack = void (*)(const uint8_t* words, const float* scales, const float* biases, int count,
                        int group, float* out);

/// Eight words of `bits` bits as they lie in the next `bits` bytes.
template <int bits>
uint64_t load_eight(const uint8_t* at) {
  uint64_t words = 0;
  std::memcpy(&words, at, bits);
  return words;
}

template <int bits>
void unpack_plain(const uint8_t* words, const float* scales, const float* biases, int count,
                  int group, float* out) {
  for (int i = 0; i < count; i += 8, words += bits) {
    const float scale = scales[i / group], bias = biases[i / group];
    uint64_t eight = load_eight<bits>(words);
    for (int j = 0; j < 8; ++j, eight >>= bits) {
      out[i + j] = scale * static_cast<float>(eight & ((1u << bits) - 1)) + bias;
    }
  }
}

#if defined(__x86_64__)
template <int bits>
__attribute__((target("avx2,fma"))) void unpack_avx2(const uint8_t* words, const float* scales,
                                                     const float* biases, int count, int group,
                                                     float* out) {
  const __m256i shifts =
      _mm256_setr_epi32(0, bits, 2 * bits, 3 * bits, 0, bits, 2 * bits, 3 * bits);
  const __m256i mask = _mm256_set1_epi32((1 << bits) - 1);
  for (int first = 0; first < count; first += group) {
    const __m256 scale = _mm256_set1_ps(*scales++), bias = _mm256_set1_ps(*biases++);
    for (int i = first; i < first + group; i += 8, words += bits) {
      const uint64_t eight = load_eight<bits>(words);
      const __m128i low = _mm_set1_epi32(static_cast<int>(eight));
      const __m128i high = _mm_set1_epi32(static_cast<int>(eight >> (4 * bits)));
      const __m256i spread = _mm256_srlv_epi32(_mm256_set_m128i(high, low), shifts);
      const __m256 values = _mm256_cvtepi32_ps(_mm256_and_si256(spread, mask));
      _mm256_storeu_ps(out + i, _mm256_add_ps(_mm256_mul_ps(scale, values), bias));
    }
  }
}
#endif

template <int bits>
Unpack unpack_of() {
#if defined(__x86_64__)
  if (has_avx2()) return unpack_avx2<bits>;
#endif
  return unpack_plain<bits>;
}

Unpack find_unpack(int bits) {
  switch (bits) {
    case 2: return unpack_of<2>();
    case 3: return unpack_of<3>();
    case 4: return unpack_of<4>();
    case 5: return unpack_of<5>();
    case 6: return unpack_of<6>();
    case 8: return unpack_of<8>();
    default: throw std::logic_error("affine_matmul: no such bits");
  }
}

/// Rows of unpacked values are this far apart: no power of two, for rows would then share cache
/// lines' places.
constexpr int row_stride = panel_depth + 16;

/// The weight's transpose, dequantized panel by panel.
class AffineOperand final : public RightOperand {
 public:
  explicit AffineOperand(const Packed& packed)
      : packed_(packed),
        unpack_(find_unpack(packed.bits)),
        rows_(std::make_unique_for_overwrite<float[]>(panel_columns * row_stride)) {}

  void fill(int column, int columns, int depth_start, int depth, float* panel) const override {
    const int group = packed_.group, groups = packed_.columns / group;
    for (int i = 0; i < columns; ++i) {
      const ptrdiff_t first = ptrdiff_t{column + i} * groups + depth_start / group;
      unpack_(packed_.words + first * group * packed_.bits / 8, packed_.scales + first,
              packed_.biases + first, depth, group, &rows_[static_cast<size_t>(i * row_stride)]);
    }
    transpose_panel(rows_.get(), row_stride, columns, depth, panel);
  }

 private:
  Packed packed_;
  Unpack unpack_;
  std::unique_ptr<float[]> rows_;  // [panel_columns][row_stride]
};

class AffineMatmul final : public mx::UnaryPrimitive {
 public:
  AffineMatmul(mx::Stream stream, int bits, int group)
      : UnaryPrimitive(stream), bits_(bits), group_(group) {}

  /// Inputs: x, words, scales, biases, all in rows without gaps.
  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    const mx::array& x = inputs[0];
    const Packed packed{inputs[1].data<uint8_t>(), inputs[2].data<float>(), inputs[3].data<float>(),
                        out.shape(1), x.shape(1), bits_, group_};
    mx::cpu::get_command_encoder(stream()).dispatch(
        [packed, m = x.shape(0), from = x.data<float>(), to = out.data<float>()] {
          multiply(m, packed.rows, packed.columns, {from, packed.columns, 1}, AffineOperand(packed),
                   1, 0, to, packed.rows);
        });
  }
  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    throw std::logic_error("affine_matmul is for the CPU");
  }
  const char* name() const override { return "CideryAffineMatmul"; }

 private:
  int bits_, group_;
};

}  // namespace

mx::array affine_matmul(const mx::array& x, const AffineWeight& weight) {
  const auto primitive = std::make_shared<AffineMatmul>(mx::default_stream(mx::Device::cpu),
                                                        weight.bits, weight.group);
  return mx::array({x.shape(0), weight.words.shape(0)}, mx::float32, primitive,
                   {mx::contiguous(x), weight.words, weight.scales, weight.biases});
}

}  // namespace cidery::mlx
