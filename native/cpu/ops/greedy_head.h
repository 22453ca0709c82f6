#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/slab.h"
#include "cpu/ops/matmul.h"
#include "cpu/pass.h"

namespace cidery::cpu {

/// The largest logit of rows of which nothing else is wanted, without reading most of the head's
/// lower bits: a bound of every panel is found from the upper ones, and only panels whose bound
/// reaches a logit that is known are multiplied. What it gives are the bits of the whole product's
/// largest.
class GreedyHead {
 public:
  /// With more rows multiplying takes longer than reading, and a bound is a product more.
  static constexpr uint32_t most_rows = 8;

  /// Whether `head` is such that this works: int8 activations over split8, with nothing behind the
  /// product that could make two logits equal.
  static bool serves(const MatmulRegion& head) noexcept;

  /// For `head`, of which `serves`.
  GreedyHead(const MatmulRegion& head, Arena& arena);

  /// The largest of rows [first, first + rows) of the head's input; of the logits some are left in
  /// the first rows of the head's output. The next call takes the memory of the result.
  std::span<const Largest> run(const Tools& tools, uint32_t first, uint32_t rows);

  /// Whether bounds left out so little of late that the whole product is faster for now.
  bool resting() noexcept;

 private:
  void find_bounds(const Tools& tools, const Block& block);
  void multiply_best(const Tools& tools, const Block& block);
  void list_candidates(uint32_t rows);
  Largest largest_of_panel(const Tools& tools, uint32_t row, uint32_t panel) const;
  Largest largest_of(const Tools& tools, uint32_t row) const;
  float* bounds(uint32_t row) const noexcept { return bounds_ + size_t{row} * panels_; }

  const MatmulRegion& head_;
  const uint32_t panels_;
  Margin* margins_;  // [rows, inputs / 32]
  float* bounds_;    // [rows, panels]
  std::vector<float> known_;          // of each row a logit that the largest is no less than
  std::vector<uint32_t> candidates_;  // panels to multiply, ascending
  std::vector<Largest> largest_;
  uint32_t rest_ = 0;  // calls of resting() that are still to say so
};

}  // namespace cidery::cpu
