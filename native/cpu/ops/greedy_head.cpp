#include "cpu/ops/greedy_head.h"

#include <algorithm>

#include "cpu/ops/divide.h"

namespace cidery::cpu {
namespace {

/// With more candidates than a quarter of the panels the whole product is about as fast; bounds
/// are then tried again after so many heads.
constexpr uint32_t most_share = 4, rest_heads = 16;

}  // namespace

bool GreedyHead::serves(const MatmulRegion& head) noexcept {
  if (head.parts.size() != 1) return false;
  const MatmulPart& part = head.parts[0];
  return part.fast && part.weight->format == PackedFormat::split8 && part.bias == nullptr &&
         head.softcap.changes_nothing();
}

GreedyHead::GreedyHead(const MatmulRegion& head, Arena& arena)
    : head_(head),
      panels_(panel_count(head.parts[0].weight->outputs)),
      margins_(arena.allocate_array<Margin>(uint64_t{most_rows} * head.in.width /
                                            activation_group)),
      bounds_(arena.allocate_array<float>(uint64_t{most_rows} * panels_)) {
  known_.reserve(most_rows);
  largest_.reserve(most_rows);
  candidates_.reserve(panels_);
}

bool GreedyHead::resting() noexcept {
  if (rest_ == 0) return false;
  --rest_;
  return true;
}

std::span<const Largest> GreedyHead::run(const Tools& tools, uint32_t first, uint32_t rows) {
  const Block block{first, rows, 0};
  find_bounds(tools, block);
  multiply_best(tools, block);
  list_candidates(rows);
  const auto count = static_cast<uint32_t>(candidates_.size());
  const Division division =
      divide(count, panel_nanoseconds(head_.parts[0], rows), tools.pool.threads());
  tools.pool.parallel_for(division.tasks, [&](uint32_t task, uint32_t) noexcept {
    const uint32_t begin = task * division.together;
    const uint32_t end = std::min(begin + division.together, count);
    for (uint32_t i = begin; i < end; ++i) head_.multiply(tools, 0, candidates_[i], 1, block);
  });
  largest_.clear();
  for (uint32_t row = 0; row < rows; ++row) largest_.push_back(largest_of(tools, row));
  if (count > panels_ / most_share) rest_ = rest_heads;
  return largest_;
}

void GreedyHead::find_bounds(const Tools& tools, const Block& block) {
  const PackedWeight& weight = *head_.parts[0].weight;
  const MatmulArguments rows = head_.arguments(0, block);
  tools.kernels.find_margins({rows.codes, rows.groups, block.rows, weight.inputs, margins_});
  const Division division = divide(panels_, panel_nanoseconds(head_.parts[0], block.rows),
                                   tools.pool.threads(), many_tasks);
  const auto bound = [&](uint32_t task, uint32_t tasks, uint32_t) noexcept {
    const uint32_t first = task * division.together;
    const uint32_t count = std::min(tasks * division.together, panels_ - first);
    tools.kernels.bound({&weight, first, count, block.rows, rows.codes, rows.groups, margins_,
                         bounds_, panels_});
  };
  tools.pool.parallel_runs(division.tasks, division.run, bound);
}

/// Multiplies the panel of each row that promises most: its largest logit is likely the row's.
void GreedyHead::multiply_best(const Tools& tools, const Block& block) {
  known_.clear();
  for (uint32_t row = 0; row < block.rows; ++row) {
    const float* all = bounds(row);
    const auto best = static_cast<uint32_t>(std::max_element(all, all + panels_) - all);
    head_.multiply(tools, 0, best, 1, {block.first + row, 1, row});
    const Largest largest = largest_of_panel(tools, row, best);
    known_.push_back(largest.finite ? largest.value : -__builtin_inff());
  }
}

/// Panels that may hold the largest logit of a row, or one that is not finite.
void GreedyHead::list_candidates(uint32_t rows) {
  candidates_.clear();
  for (uint32_t panel = 0; panel < panels_; ++panel) {
    for (uint32_t row = 0; row < rows; ++row) {
      if (bounds(row)[panel] < known_[row]) continue;
      candidates_.push_back(panel);
      break;
    }
  }
}

/// Of the logits of a panel that was multiplied.
Largest GreedyHead::largest_of_panel(const Tools& tools, uint32_t row, uint32_t panel) const {
  const View& out = head_.parts[0].out;
  const uint32_t column = panel * lanes;
  Largest largest =
      tools.kernels.largest(out.row(row) + column, std::min(lanes, out.width - column));
  largest.index += column;
  return largest;
}

Largest GreedyHead::largest_of(const Tools& tools, uint32_t row) const {
  Largest all{-__builtin_inff(), 0, true};
  for (const uint32_t panel : candidates_) {
    const Largest one = largest_of_panel(tools, row, panel);
    all.finite = all.finite && one.finite;
    // Panels come in the order of their tokens: a tie stays with the lowest.
    if (one.value > all.value) all = {one.value, one.index, all.finite};
  }
  return all;
}

}  // namespace cidery::cpu
