#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/kv.h"
#include "cpu/pool.h"

namespace cidery::cpu {

/// Columns of a matrix of activations.
struct View {
  float* data = nullptr;
  size_t stride = 0;  // floats from row to row
  uint32_t width = 0;
  float* row(size_t index) const noexcept { return data + index * stride; }
};

/// Consecutive rows of a pass that belong to one sequence.
struct SequenceRows {
  uint32_t slot, first_row, count, first_position;
};

/// A row whose logits are wanted, and by whom: sequence `sequence` of the plan takes them as row
/// `logit_row` of its own.
struct WantedRow {
  uint32_t row, sequence, logit_row;
};

/// Rows that go through the program together: a step, or a part of a large one. A row is one token
/// of one sequence.
struct Pass {
  std::vector<uint32_t> tokens, positions, slots;  // of each row
  std::vector<SequenceRows> sequences;
  std::vector<WantedRow> wanted;
  uint32_t rows() const noexcept { return static_cast<uint32_t>(tokens.size()); }
  void clear() noexcept {
    for (auto* values : {&tokens, &positions, &slots}) values->clear();
    sequences.clear();
    wanted.clear();
  }
};

/// What an operation works with.
struct Tools {
  const Kernels& kernels;
  Pool& pool;
  BlockCache& cache;
  const Pass& pass;
};

}  // namespace cidery::cpu
