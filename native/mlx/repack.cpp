#include "mlx/repack.h"

#include <vector>

#include "load/dequantize.h"
#include "load/format.h"

namespace cidery::mlx {
namespace {

constexpr int group_width = 32;
/// Groups decoded at a time: whole blocks of every format.
constexpr size_t chunk_groups = 1024;

mx::Shape with_columns(mx::Shape shape, int columns) {
  shape.back() = columns;
  return shape;
}

AffineWeight repack_affine(load::Format format, std::span<const std::byte> blocks,
                           const mx::Shape& shape) {
  const uint32_t bits = load::affine_bits(format);
  const int columns = shape.back(), words_a_row = columns / 32 * static_cast<int>(bits);
  AffineWeight weight{allocate(with_columns(shape, words_a_row), mx::uint32),
                      allocate(with_columns(shape, columns / group_width), mx::float32),
                      allocate(with_columns(shape, columns / group_width), mx::float32),
                      static_cast<int>(bits), group_width};
  const load::FormatLayout& layout = load::layout_of(format);
  const size_t block_groups = layout.values / group_width;
  std::byte* words = bytes(weight.words).data();
  const auto scales = floats(weight.scales), biases = floats(weight.biases);
  std::vector<load::AffineGroup> groups(std::min(chunk_groups, scales.size()));
  for (size_t first = 0; first < scales.size(); first += groups.size()) {
    groups.resize(std::min(groups.size(), scales.size() - first));
    load::split_affine(format,
                       blocks.subspan(first / block_groups * layout.bytes,
                                      groups.size() / block_groups * layout.bytes),
                       groups);
    for (size_t i = 0; i < groups.size(); ++i, words += bits * group_width / 8) {
      pack_words(groups[i].words, bits, words);
      scales[first + i] = groups[i].scale;
      biases[first + i] = groups[i].bias;
    }
  }
  return weight;
}

/// Exponent 255 is 2^128 in GGUF and not a number in MLX.
bool has_huge_exponent(std::span<const std::byte> blocks) {
  const size_t stride = load::layout_of(load::Format::mxfp4).bytes;
  for (size_t at = 0; at < blocks.size(); at += stride) {
    if (blocks[at] == std::byte{255}) return true;
  }
  return false;
}

Mxfp4Weight repack_mxfp4(std::span<const std::byte> blocks, const mx::Shape& shape) {
  const int columns = shape.back();
  Mxfp4Weight weight{allocate(with_columns(shape, columns / 8), mx::uint32),
                     allocate(with_columns(shape, columns / group_width), mx::uint8)};
  const size_t stride = load::layout_of(load::Format::mxfp4).bytes;
  std::byte* words = bytes(weight.words).data();
  for (std::byte& scale : bytes(weight.scales)) {
    load::FloatGroup group;
    load::split_mxfp4(blocks.first(stride), {&group, 1});
    blocks = blocks.subspan(stride);
    pack_words(group.codes, 4, words);
    words += group_width / 2;
    scale = std::byte{group.exponent};
  }
  return weight;
}

}  // namespace

void pack_words(std::span<const uint8_t> words, uint32_t bits, std::byte* out) noexcept {
  uint32_t pending = 0, count = 0;
  for (const uint8_t word : words) {
    pending |= static_cast<uint32_t>(word) << count;
    for (count += bits; count >= 8; count -= 8, pending >>= 8) *out++ = std::byte(pending & 255);
  }
}

mx::array dequantize_blocks(load::Format format, std::span<const std::byte> blocks,
                            const mx::Shape& shape) {
  mx::array values = allocate(shape, mx::float32);
  load::dequantize(format, blocks, floats(values));
  return values;
}

Weight::Storage repack_blocks(load::Format format, std::span<const std::byte> blocks,
                              const mx::Shape& shape, mx::Dtype dense_dtype) {
  if (load::affine_bits(format) != 0) return repack_affine(format, blocks, shape);
  if (format == load::Format::mxfp4 && !has_huge_exponent(blocks)) {
    return repack_mxfp4(blocks, shape);
  }
  return DenseWeight{convert(dequantize_blocks(format, blocks, shape), dense_dtype)};
}

}  // namespace cidery::mlx
