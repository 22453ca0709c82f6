#include "cpu/ops/angles.h"

#include <cmath>

namespace cidery::cpu {
namespace {

/// Of pair i: base^(-2 i / width).
double frequency(double base, uint32_t pair, uint32_t width) {
  return std::pow(base, -2.0 * pair / width);
}

}  // namespace

Angles::Angles(const program::Rope& rope, float* table)
    : rope_(rope), half_(rope.width / 2), table_(table), frequencies_(half_) {
  for (uint32_t i = 0; i < half_; ++i) {
    frequencies_[i] = rope.frequencies.empty() ? frequency(rope.base, i, rope.width)
                                               : 1 / static_cast<double>(rope.frequencies[i]);
  }
}

void Angles::run(const Tools& tools, uint32_t first, uint32_t count) const noexcept {
  for (uint32_t row = first; row < first + count; ++row) {
    const double position = tools.pass.positions[row];
    const bool stretched = rope_.dynamic_from > 0 && position >= rope_.dynamic_from;
    double base = rope_.base;
    if (stretched) {
      const double factor = rope_.dynamic_factor, width = rope_.width;
      base *= std::pow(factor * (position + 1) / rope_.dynamic_from - (factor - 1),
                       width / (width - 2));
    }
    float* cosines = table_ + size_t{row} * 2 * half_;
    for (uint32_t i = 0; i < half_; ++i) {
      const double turn = stretched ? frequency(base, i, rope_.width) : frequencies_[i];
      const double angle = position * rope_.scale * turn;
      cosines[i] = static_cast<float>(std::cos(angle) * rope_.pre_scale);
      cosines[half_ + i] = static_cast<float>(std::sin(angle) * rope_.pre_scale);
    }
  }
}

}  // namespace cidery::cpu
