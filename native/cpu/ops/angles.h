#pragma once

#include <vector>

#include "cpu/pass.h"
#include "program/program.h"

namespace cidery::cpu {

/// Cosines and sines of a rope for the positions of a pass's rows, its scale before the rotation
/// included. Angles are computed in double and rounded once.
class Angles {
 public:
  /// `table`: room for [rows][2][width / 2].
  Angles(const program::Rope& rope, float* table);

  /// Fills rows [first, first + count).
  void run(const Tools& tools, uint32_t first, uint32_t count) const noexcept;
  uint64_t row_nanoseconds() const noexcept { return uint64_t{half_} * 40; }

  const program::Rope& rope() const noexcept { return rope_; }
  const float* cosines(uint32_t row) const noexcept { return table_ + size_t{row} * 2 * half_; }
  const float* sines(uint32_t row) const noexcept { return cosines(row) + half_; }

 private:
  program::Rope rope_;
  uint32_t half_;
  float* table_;
  std::vector<double> frequencies_;  // of each pair, where the rope is not stretched
};

}  // namespace cidery::cpu
