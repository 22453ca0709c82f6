#pragma once

#include <vector>

#include "cpu/ops/rows.h"
#include "cpu/pass.h"
#include "program/program.h"

namespace cidery::cpu {

/// One matrix of a region.
struct MatmulPart {
  const PackedWeight* weight = nullptr;
  const float* bias = nullptr;
  View out;
  bool fast = false;  // int8 activations; else f32
};

/// About what `rows` rows of a panel take: its bytes read at 15 GB/s, or its products at 60 G/s
/// (in f32: 15 G/s).
uint64_t panel_nanoseconds(const MatmulPart& part, uint32_t rows) noexcept;

/// Outputs that a task may compute on its own: some panels of a matrix, and as many of a second one
/// where an activation brings the two together.
struct MatmulSegment {
  uint32_t part = 0, first_panel = 0, panels = 0;
  bool gated = false;
  uint32_t up_part = 0, up_first_panel = 0;
};

/// What follows a matrix product within the same task. An activation's `gate` and `up` are outputs
/// of the parts; a soft cap is that of the head.
struct GatedActivation {
  View out, gate, up;
  ActivationKind kind = ActivationKind::silu;
};
struct Softcap {
  float scale = 1, cap = 0;
  bool changes_nothing() const noexcept { return scale == 1 && cap == 0; }
};

/// Rows [first, first + rows) of an input, which become rows `out_first` and on of outputs.
struct Block {
  uint32_t first, rows, out_first;
};

/// Matrices that read the same activations.
struct MatmulRegion {
  program::Domain domain = program::Domain::tokens;
  View in;
  Prepared prepared;
  std::vector<MatmulPart> parts;
  std::vector<MatmulSegment> segments;
  GatedActivation activation;  // for gated segments
  Softcap softcap;             // applied unless it changes nothing

  /// Rows [first, first + rows) of `in`, written to the parts' rows from `out_first` on.
  void run(const Tools& tools, uint32_t first, uint32_t rows, uint32_t out_first) const noexcept;

  /// Panels [panel, panel + panels) of a part alone, by the caller's thread: the product and no
  /// more.
  void multiply(const Tools& tools, uint32_t part, uint32_t panel, uint32_t panels,
                const Block& block) const noexcept;
  /// What kernels are told of a part's product, panels apart.
  MatmulArguments arguments(uint32_t part, const Block& block) const noexcept;

 private:
  void run_panels(const Tools& tools, uint32_t begin, uint32_t end,
                  const Block& block) const noexcept;
  void run_segment(const Tools& tools, const MatmulSegment& segment, uint32_t panel,
                   uint32_t panels, const Block& block) const noexcept;
};

}  // namespace cidery::cpu
