#include "cpu/ops/matmul.h"

#include <algorithm>

#include "cpu/ops/divide.h"

namespace cidery::cpu {
namespace {

/// Activations that stay in a core's second-level cache while panels pass by.
constexpr uint64_t resident_bytes = uint64_t{192} << 10;

/// Rows that a task multiplies with each of its panels: all, or as many as stay in the cache.
uint32_t block_rows(uint32_t rows, uint64_t row_bytes, uint32_t tile) {
  const uint64_t fitting = resident_bytes / row_bytes / tile * tile;
  return static_cast<uint32_t>(std::min<uint64_t>(rows, std::max<uint64_t>(fitting, tile * 4)));
}

}  // namespace

uint64_t panel_nanoseconds(const MatmulPart& part, uint32_t rows) noexcept {
  const uint64_t products = uint64_t{part.weight->inputs} * lanes * rows;
  return std::max(part.weight->panel_bytes / 15, products / (part.fast ? 60 : 15));
}

MatmulArguments MatmulRegion::arguments(uint32_t index, const Block& block) const noexcept {
  const MatmulPart& part = parts[index];
  const size_t inputs = in.width;
  MatmulArguments arguments{};
  arguments.weight = part.weight;
  arguments.rows = block.rows;
  arguments.in = in.row(block.first);
  arguments.in_stride = in.stride;
  if (!is_dense(part.weight->format)) {
    arguments.codes = prepared.codes + block.first * inputs;
    arguments.groups = prepared.groups + block.first * (inputs / activation_group);
  }
  arguments.bias = part.bias;
  arguments.out = part.out.row(block.out_first);
  arguments.out_stride = part.out.stride;
  return arguments;
}

void MatmulRegion::multiply(const Tools& tools, uint32_t part, uint32_t panel, uint32_t panels,
                            const Block& block) const noexcept {
  MatmulArguments some = arguments(part, block);
  some.first_panel = panel;
  some.panel_count = panels;
  parts[part].fast ? tools.kernels.matmul_fast(some) : tools.kernels.matmul_precise(some);
}

void MatmulRegion::run_segment(const Tools& tools, const MatmulSegment& segment, uint32_t panel,
                               uint32_t panels, const Block& block) const noexcept {
  const MatmulPart& part = parts[segment.part];
  multiply(tools, segment.part, segment.first_panel + panel, panels, block);
  const uint32_t column = panel * lanes;
  if (segment.gated) {
    multiply(tools, segment.up_part, segment.up_first_panel + panel, panels, block);
    const uint32_t width = std::min(panels * lanes, activation.out.width - column);
    for (uint32_t row = block.out_first; row < block.out_first + block.rows; ++row) {
      tools.kernels.activate({activation.gate.row(row) + column, activation.up.row(row) + column,
                              activation.out.row(row) + column, width, activation.kind});
    }
  }
  if (softcap.changes_nothing()) return;
  const uint32_t width = std::min(panels * lanes, part.out.width - column);
  for (uint32_t row = block.out_first; row < block.out_first + block.rows; ++row) {
    tools.kernels.softcap({part.out.row(row) + column, width, softcap.scale, softcap.cap});
  }
}

void MatmulRegion::run(const Tools& tools, uint32_t first, uint32_t rows,
                       uint32_t out_first) const noexcept {
  if (rows == 0) return;
  uint32_t panels = 0;
  uint64_t cost = 0, row_bytes = 1;
  for (const MatmulSegment& segment : segments) panels += segment.panels;
  for (const MatmulPart& part : parts) {
    row_bytes = std::max<uint64_t>(row_bytes, uint64_t{in.width} * (part.fast ? 2 : 4));
  }
  const uint32_t together = block_rows(rows, row_bytes, tools.kernels.row_tile);
  const uint32_t blocks = (rows + together - 1) / together;
  for (const MatmulSegment& segment : segments) {
    uint64_t panel = panel_nanoseconds(parts[segment.part], together);
    if (segment.gated) panel += panel_nanoseconds(parts[segment.up_part], together);
    cost += panel * segment.panels;
  }
  const Division division = divide(panels, cost / panels, tools.pool.threads(), many_tasks);
  const auto run = [&](uint32_t task, uint32_t count, uint32_t) noexcept {
    while (count > 0) {
      const uint32_t at = task % division.tasks, some = std::min(count, division.tasks - at);
      const uint32_t skipped = task / division.tasks * together;
      run_panels(tools, at * division.together,
                 std::min((at + some) * division.together, panels),
                 {first + skipped, std::min(together, rows - skipped), out_first + skipped});
      task += some;
      count -= some;
    }
  };
  tools.pool.parallel_runs(division.tasks * blocks, division.run, run);
}

/// Panels [begin, end), counted through the segments.
void MatmulRegion::run_panels(const Tools& tools, uint32_t begin, uint32_t end,
                              const Block& block) const noexcept {
  uint32_t segment_begin = 0;
  for (const MatmulSegment& segment : segments) {
    const uint32_t segment_end = segment_begin + segment.panels;
    if (begin < segment_end && begin < end) {
      const uint32_t count = std::min(end, segment_end) - begin;
      run_segment(tools, segment, begin - segment_begin, count, block);
      begin += count;
    }
    segment_begin = segment_end;
  }
}

}  // namespace cidery::cpu
