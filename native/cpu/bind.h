#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "base/slab.h"
#include "cpu/ops/attention.h"
#include "cpu/ops/collective.h"
#include "cpu/ops/matmul.h"
#include "cpu/ops/rows.h"
#include "cpu/weights.h"
#include "program/program.h"

namespace cidery::cpu {

/// Rows that go through the program together at most. A step has a scheduler's share of prompts and
/// one row for each sequence beside it: it fits.
inline constexpr uint32_t most_rows = 512;
/// Rows of logits that are there at a time.
inline constexpr uint32_t most_logit_rows = 32;

/// Work between two waits.
using Region = std::variant<RowRegion, MatmulRegion, AttendRegion, CollectiveRegion>;

/// A program with its parameters and buffers resolved to addresses.
struct BoundProgram {
  std::vector<Region> regions;  // in order, those of the head's logits apart
  size_t first_regions = 0;     // of a pipeline's rank 0: until it receives; else all
  MatmulRegion head;            // without parts on a rank that has none of it
  View logits;                  // [most_logit_rows]; on rank 0 of the whole vocabulary
  std::vector<std::unique_ptr<Angles>> angles;
  std::unique_ptr<AttentionRoom> attention;
  std::unique_ptr<CollectiveRoom> collectives;  // on several ranks
};

struct BindOptions {
  bool precise = true;
  uint32_t threads = 1;
  uint32_t positions = 0;  // most of a slot
  group::Group* group = nullptr;  // of the program's ranks, where there are several
};

/// Lays the buffers of a checked program out in `arena` and joins what can run together: linear
/// operations with one input, an activation with the matrices before it, consecutive operations on
/// rows. The order of arithmetic within an operation stays what it is. Throws Error
/// `out_of_memory`.
BoundProgram bind_program(const program::Program& program, const Weights& weights,
                          const BindOptions& options, Arena& arena);

}  // namespace cidery::cpu
