#pragma once

#include <variant>
#include <vector>

#include "cpu/ops/angles.h"
#include "cpu/ops/heads.h"
#include "cpu/pass.h"
#include "program/program.h"

/// Operations whose row depends on the same row of their inputs alone: consecutive ones run row by
/// row, without waiting for each other's other rows.
namespace cidery::cpu {

struct AnglesStep {
  const Angles* angles;
};
struct EmbedStep {
  View out;
  const PackedWeight* table;
  float scale;
  uint32_t first;  // token of the table's first row
};
struct NormStep {
  View out, in;
  const float* weight;
  const float* bias;
  float epsilon, weight_offset;
  NormKind kind;
};
struct ActivateStep {
  View out, gate, up;  // up without data where it is absent
  ActivationKind kind;
};
struct AddStep {
  View out, a, b;
  float scale_b;
};
/// Brings the rows whose logits are wanted together: reads other rows than it writes, so it begins
/// a region.
struct SelectStep {
  View out, in;
};

/// Activations as matrices read them (kernels.h).
struct Prepared {
  int8_t* codes = nullptr;
  GroupRecord* groups = nullptr;
};
struct PrepareStep {
  View in;
  Prepared out;
  bool quantize;  // else the sums alone
};

/// What goes to a rounded sum and what comes of it: bf16, row behind row.
struct RoundStep {
  View in;
  uint16_t* out;
};
struct WidenStep {
  View out;
  const uint16_t* in;
};

using RowStep = std::variant<AnglesStep, EmbedStep, NormStep, HeadsStep, ActivateStep, AddStep,
                             SelectStep, PrepareStep, RoundStep, WidenStep>;

struct RowRegion {
  program::Domain domain = program::Domain::tokens;
  std::vector<RowStep> steps;

  void run(const Tools& tools) const noexcept;
};

}  // namespace cidery::cpu
