#include "mlx/rope.h"

#include <cmath>
#include <vector>

namespace cidery::mlx {
namespace {

/// Only the rotary columns are scaled, as mlx-lm's rope_utils.py does for longrope and yarn.
mx::array scale_rotary(const mx::array& x, const program::Rope& rope) {
  if (rope.pre_scale == 1) return x;
  const mx::array factor(rope.pre_scale, x.dtype());
  const auto width = static_cast<int>(rope.width);
  if (width == x.shape(3)) return mx::multiply(x, factor);
  mx::Shape stop = x.shape(), start{0, 0, 0, width};
  const mx::array rest = mx::slice(x, start, stop);
  stop[3] = width;
  return mx::concatenate({mx::multiply(mx::slice(x, {0, 0, 0, 0}, stop), factor), rest}, 3);
}

/// Cosines and sines [count, width / 2] of a dynamic rope, whose base depends on the position.
std::pair<mx::array, mx::array> dynamic_angles(const program::Rope& rope, uint32_t first,
                                               uint32_t count) {
  const uint32_t half = rope.width / 2;
  std::vector<float> cosines, sines;
  for (uint32_t position = first; position < first + count; ++position) {
    double base = rope.base;
    if (position >= rope.dynamic_from) {
      const double factor = rope.dynamic_factor, width = rope.width;
      const double stretch = factor * (position + 1.0) / rope.dynamic_from - (factor - 1);
      base *= std::pow(stretch, width / (width - 2));
    }
    const float step = std::log(static_cast<float>(base)) / static_cast<float>(half);
    for (uint32_t i = 0; i < half; ++i) {
      const float frequency = std::exp(-static_cast<float>(i) * step);
      const float angle = static_cast<float>(position) * rope.scale * frequency;
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
  }
  const mx::Shape shape{static_cast<int>(count), static_cast<int>(half)};
  return {mx::array(cosines.begin(), shape), mx::array(sines.begin(), shape)};
}

/// MLX's rope has one base a call; this one is composed, in the order of MLX's own fallback.
mx::array rotate_dynamic(const program::Rope& rope, const mx::array& x, uint32_t position) {
  const auto [cosines, sines] =
      dynamic_angles(rope, position, static_cast<uint32_t>(x.shape(2)));
  const mx::array c = mx::astype(cosines, x.dtype()), s = mx::astype(sines, x.dtype());
  const int width = static_cast<int>(rope.width), half = width / 2;
  const int stride = rope.traditional ? 2 : 1;
  const auto columns = [&x](int from, int to, int by) {
    mx::Shape stop = x.shape();
    stop[3] = to;
    return mx::slice(x, {0, 0, 0, from}, stop, {1, 1, 1, by});
  };
  const mx::array a = columns(0, rope.traditional ? width : half, stride);
  const mx::array b = columns(rope.traditional ? 1 : half, width, stride);
  const mx::array first = mx::subtract(mx::multiply(a, c), mx::multiply(b, s));
  const mx::array second = mx::add(mx::multiply(a, s), mx::multiply(b, c));
  mx::Shape rotated_shape = x.shape();
  rotated_shape[3] = width;
  mx::array rotated = rope.traditional
                          ? mx::reshape(mx::stack({first, second}, 4), rotated_shape)
                          : mx::concatenate({first, second}, 3);
  if (width == x.shape(3)) return rotated;
  return mx::concatenate({rotated, columns(width, x.shape(3), 1)}, 3);
}

}  // namespace

mx::array rotate(const program::Rope& rope, const std::optional<mx::array>& frequencies,
                 const mx::array& x, uint32_t first) {
  const mx::array scaled = scale_rotary(x, rope);
  if (rope.dynamic_from > 0) return rotate_dynamic(rope, scaled, first);
  std::optional<float> base;
  if (!frequencies) base = rope.base;
  return mx::fast::rope(scaled, static_cast<int>(rope.width), rope.traditional, base, rope.scale,
                        static_cast<int>(first), frequencies);
}

}  // namespace cidery::mlx
