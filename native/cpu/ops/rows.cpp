#include "cpu/ops/rows.h"

#include <algorithm>
#include <cstring>

#include "cpu/ops/divide.h"

namespace cidery::cpu {
namespace {

/// Rows that take all steps before others follow: what a step leaves the next one finds in cache.
constexpr uint32_t rows_together = 16;

/// Rows [first, first + count) on one thread.
struct Run {
  const Tools& tools;
  uint32_t first, count, thread;

  void operator()(const AnglesStep& step) const noexcept {
    step.angles->run(tools, first, count);
  }
  void operator()(const EmbedStep& step) const noexcept {
    for (uint32_t row = first; row < first + count; ++row) {
      const uint32_t token = tools.pass.tokens[row] - step.first;
      if (token < step.table->outputs) {
        tools.kernels.lookup({step.table, token, step.scale, step.out.row(row)});
      } else {
        // Another rank's token. What adds nothing to any value, zeros of either sign too.
        std::fill_n(step.out.row(row), step.out.width, -0.0f);
      }
    }
  }
  void operator()(const NormStep& step) const noexcept {
    tools.kernels.norm({step.in.row(first), step.in.stride, step.out.row(first), step.out.stride,
                        count, step.in.width, step.weight, step.bias, step.epsilon,
                        step.weight_offset, step.kind});
  }
  void operator()(const HeadsStep& step) const noexcept { step.run(tools, first, count, thread); }
  void operator()(const ActivateStep& step) const noexcept {
    for (uint32_t row = first; row < first + count; ++row) {
      tools.kernels.activate({step.gate.row(row),
                              step.up.data == nullptr ? nullptr : step.up.row(row),
                              step.out.row(row), step.out.width, step.kind});
    }
  }
  void operator()(const AddStep& step) const noexcept {
    for (uint32_t row = first; row < first + count; ++row) {
      tools.kernels.add(
          {step.a.row(row), step.b.row(row), step.out.row(row), step.out.width, step.scale_b});
    }
  }
  void operator()(const SelectStep& step) const noexcept {
    for (uint32_t row = first; row < first + count; ++row) {
      std::memcpy(step.out.row(row), step.in.row(tools.pass.wanted[row].row),
                  step.out.width * sizeof(float));
    }
  }
  void operator()(const PrepareStep& step) const noexcept {
    const size_t inputs = step.in.width;
    const PrepareArguments arguments{step.in.row(first),
                                     step.in.stride,
                                     count,
                                     step.in.width,
                                     step.out.codes + first * inputs,
                                     step.out.groups + first * (inputs / activation_group)};
    step.quantize ? tools.kernels.quantize_rows(arguments) : tools.kernels.sum_groups(arguments);
  }
  void operator()(const RoundStep& step) const noexcept {
    for (uint32_t row = first; row < first + count; ++row) {
      const size_t width = step.in.width;
      tools.kernels.round({step.in.row(row), step.out + row * width, width});
    }
  }
  void operator()(const WidenStep& step) const noexcept {
    for (uint32_t row = first; row < first + count; ++row) {
      const size_t width = step.out.width;
      tools.kernels.widen({step.in + row * width, step.out.row(row), width});
    }
  }
};

/// About what a row of a step takes.
struct Cost {
  uint64_t operator()(const AnglesStep& step) const { return step.angles->row_nanoseconds(); }
  uint64_t operator()(const EmbedStep& step) const { return step.out.width; }
  uint64_t operator()(const NormStep& step) const { return step.in.width / 4; }
  uint64_t operator()(const HeadsStep& step) const { return step.row_nanoseconds(); }
  uint64_t operator()(const ActivateStep& step) const { return step.out.width; }
  uint64_t operator()(const AddStep& step) const { return step.out.width / 8; }
  uint64_t operator()(const SelectStep& step) const { return step.out.width / 8; }
  uint64_t operator()(const PrepareStep& step) const { return step.in.width / 2; }
  uint64_t operator()(const RoundStep& step) const { return step.in.width / 8; }
  uint64_t operator()(const WidenStep& step) const { return step.out.width / 8; }
};

}  // namespace

void RowRegion::run(const Tools& tools) const noexcept {
  const uint32_t rows = domain == program::Domain::tokens
                            ? tools.pass.rows()
                            : static_cast<uint32_t>(tools.pass.wanted.size());
  uint64_t cost = 0;
  for (const RowStep& step : steps) cost += std::visit(Cost{}, step);
  const Division division = divide(rows, cost, tools.pool.threads());
  tools.pool.parallel_for(division.tasks, [&](uint32_t task, uint32_t thread) noexcept {
    const uint32_t end = std::min((task + 1) * division.together, rows);
    for (uint32_t first = task * division.together; first < end; first += rows_together) {
      const uint32_t count = std::min(rows_together, end - first);
      for (const RowStep& step : steps) std::visit(Run{tools, first, count, thread}, step);
    }
  });
}

}  // namespace cidery::cpu
